// Files with a JSON object a line that only grow. A process that was killed may have left a torn line.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace firn {

// Calls take(record, line), which says whether it is one, for each object. How many lines were none, without a last
// one that has no end: it is being written. No file: no lines.
int read_json_lines(const std::filesystem::path& file,
                    const std::function<bool(const nlohmann::json& record, std::string_view line)>& take);

}  // namespace firn
