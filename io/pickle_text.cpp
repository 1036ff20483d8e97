#include "io/pickle_text.h"

#include <charconv>

#include "base/text.h"

namespace firn {
namespace {

template <class T, class... Base>
std::optional<T> parsed(std::string_view text, Base... base) {
  T v{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v, base...);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return v;
}

void append_utf8(std::string& to, uint32_t code) {
  if (code < 0x80) {
    to += char(code);
  } else if (code < 0x800) {
    to += char(0xc0 | code >> 6);
    to += char(0x80 | (code & 0x3f));
  } else {  // nothing is named with such letters
    to += '?';
  }
}

}  // namespace

std::optional<WrittenInteger> written_integer(std::string_view text) {
  if (text == "00" || text == "01") return WrittenInteger{text == "01", true};
  if (text.ends_with('L')) text.remove_suffix(1);
  const auto v = parsed<int64_t>(text, 10);
  if (!v) return {};
  return WrittenInteger{*v, false};
}

std::optional<double> written_real(std::string_view text) { return parsed<double>(text); }

std::optional<std::string> unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back() || (text.front() != '\'' && text.front() != '"')) return {};
  text = text.substr(1, text.size() - 2);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      plain += text[i];
      continue;
    }
    constexpr std::string_view names = "abfnrtv\\'\"", values = "\a\b\f\n\r\t\v\\'\"";
    const char next = ++i < text.size() ? text[i] : '\0';
    if (next == 'x') {
      const auto byte = i + 2 < text.size() ? parsed<uint32_t>(text.substr(i + 1, 2), 16) : std::nullopt;
      if (!byte) return {};
      plain += char(*byte);
      i += 2;
    } else if (const size_t known = names.find(next); known != names.npos) {
      plain += values[known];
    } else {
      return {};
    }
  }
  return plain;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const char kind = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    const size_t digits = kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0) {
      append_utf8(plain, uint8_t(text[i]));
      continue;
    }
    const auto code = i + 2 + digits <= text.size() ? parsed<uint32_t>(text.substr(i + 2, digits), 16) : std::nullopt;
    if (!code) return {};
    append_utf8(plain, *code);
    i += 1 + digits;
  }
  return plain;
}

std::optional<std::string> bytes_of_letters(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Character c = first_character(text);
    if (c.code < 0 || c.code > 255) return {};
    bytes += char(c.code);
    text.remove_prefix(c.size);
  }
  return bytes;
}

}  // namespace firn
