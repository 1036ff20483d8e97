// Numbers and texts as Python pickles of protocol 0 write them, in letters. Nothing: they are none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace firn {

struct WrittenInteger {
  int64_t value;
  bool boolean;
};
std::optional<WrittenInteger> written_integer(std::string_view text);  // "12", "12L"; "01" and "00" for truths
std::optional<double> written_real(std::string_view text);

std::optional<std::string> unquoted(std::string_view text);   // 'abc', with the escapes of Python's bytes
std::optional<std::string> unescaped(std::string_view text);  // Latin-1, in which all else is escaped; UTF-8 then

// The bytes that these letters (UTF-8) stand for, each below 256.
std::optional<std::string> bytes_of_letters(std::string_view text);

}  // namespace firn
