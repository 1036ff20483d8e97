#include "kernels/choice/plan_store.h"

#include <fmt/core.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/hash.h"

namespace firn::kernels {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "firn plans 1";
constexpr size_t kMostBytes = 64 << 20;  // a compiled plan has about 0.2 MB
constexpr int kFastest = 1;              // of gzip's levels

// The whole of a gzip file, whose check sum is right; nullopt otherwise.
std::optional<std::string> read(const fs::path& file) {
  const gzFile in = gzopen(file.c_str(), "rb");
  if (!in) return {};
  const bool compressed = !gzdirect(in);
  std::string text;
  char part[1 << 16];
  int bytes = 0;
  while (text.size() <= kMostBytes && (bytes = gzread(in, part, sizeof part)) > 0)
    text.append(part, static_cast<size_t>(bytes));
  const bool to_the_end = gzclose(in) == Z_OK && bytes == 0;  // a file that is cut off is an error when it is closed
  return compressed && to_the_end ? std::optional(std::move(text)) : std::nullopt;
}

// Readers see the old file or the new one, never half of it. False where it cannot be written.
bool write(const fs::path& file, const std::string& text) {
  std::error_code failed;
  fs::create_directories(file.parent_path(), failed);
  fs::path temporary = file;
  temporary += fmt::format(".{}.{}", getpid(), std::hash<std::thread::id>()(std::this_thread::get_id()));
  gzFile out = gzopen(temporary.c_str(), fmt::format("wb{}", kFastest).c_str());
  bool whole = out && gzwrite(out, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size());
  if (out) whole &= gzclose(out) == Z_OK;
  if (whole) fs::rename(temporary, file, failed);
  if (whole && !failed) return true;
  fs::remove(temporary, failed);
  return false;
}

}  // namespace

fs::path PlanStore::file(const std::string& key, bool with_proposals) const {
  // The key itself stands in the file.
  return folder_ / fmt::format("{:016x}{}.json.gz", hash_of(key), with_proposals ? "" : ".ahead");
}

bool PlanStore::has_proposals(const std::string& key) const {
  std::error_code failed;
  return !folder_.empty() && fs::is_regular_file(file(key, true), failed);
}

bool PlanStore::has_plans(const std::string& key) const {
  const StoredPlans found = find(key);
  return found.proposals || !found.plans.empty();
}

StoredPlans PlanStore::find(const std::string& key) const {
  for (const bool with_proposals : {true, false}) {
    const auto text = folder_.empty() ? std::nullopt : read(file(key, with_proposals));
    const json all = text ? json::parse(*text, nullptr, false) : json();
    if (!all.is_object() || all.value("format", json()) != kFormat || all.value("key", json()) != key) continue;
    try {
      StoredPlans found;
      all.at("plans").get_to(found.plans);
      if (with_proposals) all.at("proposals").get_to(found.proposals.emplace());
      return found;
    } catch (const json::exception&) {
    }
  }
  return {};
}

bool PlanStore::add(const std::string& key, const StoredPlans& more) const {
  if (folder_.empty()) return false;
  StoredPlans all = find(key);
  if (more.proposals) all.proposals = more.proposals;
  for (const auto& [name, plan] : more.plans) all.plans[name] = plan;
  json text{{"format", kFormat}, {"key", key}, {"plans", all.plans}};
  if (all.proposals) text["proposals"] = *all.proposals;
  return write(file(key, all.proposals.has_value()), text.dump(-1, ' ', false, json::error_handler_t::replace));
}

fs::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && fs::path(cache).is_absolute()) return fs::path(cache) / "firn";
  if (home && *home) return fs::path(home) / ".cache" / "firn";
  return {};
}

const PlanStore& plan_store() {
  static const PlanStore store(cache_folder().empty() ? fs::path() : cache_folder() / "plans");
  return store;
}

}  // namespace firn::kernels
