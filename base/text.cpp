#include "base/text.h"

namespace firn {

Utf8Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  const int head = byte(0);
  if (head < 0x80) return {head, 1};
  const size_t size = head >= 0xf0 ? 4 : head >= 0xe0 ? 3 : 2;
  constexpr int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  int32_t code = head & (0xff >> (size + 1));
  bool good = head >= 0xc2 && head < 0xf5;
  for (size_t i = 1; i < size; ++i) {
    good &= (byte(i) & 0xc0) == 0x80;
    code = code << 6 | (byte(i) & 0x3f);
  }
  good &= code >= least[size] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return good ? Utf8Character{code, size} : Utf8Character{-1, 1};
}

std::string printable(std::string_view text, size_t longest) {
  const auto is_safe = [](int32_t c) {
    const bool control = c < 0x20 || (c >= 0x7f && c <= 0x9f);
    const bool breaks_lines = c == 0x2028 || c == 0x2029;
    const bool turns =
        c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    return !control && !breaks_lines && !turns;
  };
  std::string out;
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (out.size() + c.size > longest) return out + "...";
    out += is_safe(c.code) ? text.substr(0, c.size) : "?";
    text.remove_prefix(c.size);
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (c.code < 0) return false;
    text.remove_prefix(c.size);
  }
  return true;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return out;
}

std::vector<std::string> parts_of(const std::string& text, char between) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(between, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t k) { return i + k < bytes.size() ? std::to_integer<uint32_t>(bytes[i + k]) : 0; };
    const uint32_t triple = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (int k = 0; k < 4; ++k) text += i + size_t(k) <= bytes.size() ? digits[triple >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace firn
