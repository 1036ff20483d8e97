// JSON from untrusted files: nlohmann::json with limits on depth and number of values, and no key twice in an object.
#pragma once
#include <nlohmann/json.hpp>
#include <string_view>

namespace firn {

struct JsonLimits {
  int depth;
  int64_t values;
};

nlohmann::json parse_json(std::string_view text, std::string_view name, JsonLimits limits);  // IoError naming `name`

}  // namespace firn
