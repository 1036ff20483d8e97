// What a file is, by its first bytes, for messages about files that are something else than was expected.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

namespace firn {

// "a pickle (.pkl)", "a web page", ...; empty: not known. `head`: the first bytes, some hundred where there are so
// many.
std::string_view file_kind(std::span<const std::byte> head);

}  // namespace firn
