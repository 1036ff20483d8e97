// Plans in the library's own JSON, so that what was compiled once is not compiled again: one gzip file for each
// operation of one shape, GPU and library version. It is a cache: a damaged, foreign or unwritable file is as good as
// none.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace firn::kernels {

struct StoredPlans {
  std::map<std::string, std::string> plans;  // by name
  // The names of all that can be used, best first, where the library was asked for this very GPU.
  std::optional<std::vector<std::string>> proposals = {};
};

class PlanStore {
 public:
  explicit PlanStore(std::filesystem::path folder) : folder_(std::move(folder)) {}  // an empty path: nothing is kept
  bool has_plans(const std::string& key) const;
  bool has_proposals(const std::string& key) const;  // without a look into the file
  StoredPlans find(const std::string& key) const;
  bool add(const std::string& key, const StoredPlans&) const;  // to what is there; from any thread; false: not written

 private:
  std::filesystem::path file(const std::string& key, bool with_proposals) const;
  std::filesystem::path folder_;
};

// What is remembered for this user: $XDG_CACHE_HOME/firn, or ~/.cache/firn; empty where neither is known.
std::filesystem::path cache_folder();

const PlanStore& plan_store();  // in its folder "plans"

}  // namespace firn::kernels
