// Text from outside, in UTF-8 or not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

// Text made safe for a terminal and one line, in UTF-8: control characters, marks that break lines or turn their
// direction, and what is no UTF-8 become '?', and long text is cut between characters.
std::string printable(std::string_view text, size_t longest = 200);

// The character that `text` begins with and how many bytes it has; code -1, one byte, where that is no UTF-8.
struct Utf8Character {
  int32_t code;
  size_t size;
};
Utf8Character first_character(std::string_view text);

bool is_utf8(std::string_view text);

std::string lower_case(std::string_view text);  // of the letters of ASCII; the rest stays

std::string base64(std::span<const std::byte> bytes);

std::vector<std::string> parts_of(const std::string& text, char between);  // without empty ones

}  // namespace firn
