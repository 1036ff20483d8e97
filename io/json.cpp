#include "io/json.h"

#include <set>
#include <string>
#include <vector>

#include "io/files.h"
#include "kernels/error.h"

namespace firn {

nlohmann::json parse_json(std::string_view text, std::string_view name, JsonLimits limits) {
  using Json = nlohmann::json;
  using Event = Json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the open objects, by depth
  int64_t values = 0;

  const auto watch = [&](int depth, Event event, Json& parsed) {
    if (++values > limits.values) throw IoError(fmt::format("{}: more than {} JSON values", name, limits.values));
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= limits.depth) throw IoError(fmt::format("{}: JSON nested deeper than {}", name, limits.depth));
      keys.resize(size_t(depth) + 1);
      keys.back().clear();
    } else if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.at(size_t(depth) - 1).insert(key).second)
        throw IoError(fmt::format("{}: \"{}\" appears twice", name, printable(key)));
    }
    return true;
  };

  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& e) {
    throw IoError(fmt::format("{}: invalid JSON: {}", name, printable(e.what())));
  }
}

bool is_utf8(std::string_view text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace firn
