// Text from outside as text of HTML and XML, between tags and in quoted attributes.
#pragma once
#include <string>
#include <string_view>

namespace firn {

// Printable (base/text.h), then escaped; `longest` counts bytes of the text.
std::string markup(std::string_view text, size_t longest = 400);

}  // namespace firn
