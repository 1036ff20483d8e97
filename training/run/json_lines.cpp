#include "training/run/json_lines.h"

#include <algorithm>

#include "base/error.h"
#include "io/files.h"
#include "io/json.h"

namespace firn {

int read_json_lines(const std::filesystem::path& file,
                    const std::function<bool(const nlohmann::json&, std::string_view)>& take) {
  std::error_code none;
  if (!std::filesystem::exists(file, none)) return 0;
  const std::string text = read_text(file);
  const auto takes = [&](std::string_view line) {
    try {
      const nlohmann::json record = parse_json(line, "", {.depth = 16, .values = 1'000'000});
      return record.is_object() && take(record, line);
    } catch (const IoError&) {
      return false;
    }
  };
  int bad = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (!line.empty() && !takes(line) && end < text.size()) ++bad;
    at = end + 1;
  }
  return bad;
}

}  // namespace firn
