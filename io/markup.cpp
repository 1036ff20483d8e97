#include "io/markup.h"

#include "base/text.h"

namespace firn {

std::string markup(std::string_view text, size_t longest) {
  std::string out;
  for (const char c : printable(text, longest)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

}  // namespace firn
