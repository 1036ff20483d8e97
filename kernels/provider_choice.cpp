#include "kernels/provider_choice.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "kernels/provider_numerics.h"

namespace firn::kernels {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "firn provider choices 1";
constexpr std::uintmax_t kMostBytes = 16 << 20;

// What a file holds that is ours; nothing else of it matters.
std::map<std::string, Choice> read_choices(const fs::path& file) {
  std::map<std::string, Choice> choices;
  std::error_code failed;
  if (!fs::is_regular_file(file, failed) || fs::file_size(file, failed) > kMostBytes || failed) return choices;
  std::ifstream in(file);
  const json all = json::parse(in, nullptr, false);
  if (!all.is_object() || all.value("format", json()) != kFormat || !all.contains("choices")) return choices;
  for (const auto& [key, value] : all["choices"].items()) {
    if (!value.is_object()) continue;
    const json name = value.value("name", json()), microseconds = value.value("microseconds", json());
    const json measured = value.value("measured", json());
    if (!name.is_string() || !microseconds.is_number()) continue;
    Choice& choice = choices[key] = {name, microseconds};
    for (const auto& [way, us] : measured.items())
      if (us.is_number()) choice.measured[way] = us;
  }
  return choices;
}

// Readers see the old file or the new one, never half of it.
void write_choices(const fs::path& file, const std::map<std::string, Choice>& choices) {
  json all = {{"format", kFormat}, {"choices", json::object()}};
  for (const auto& [key, choice] : choices)
    all["choices"][key] = {{"name", choice.name}, {"microseconds", choice.microseconds}, {"measured", choice.measured}};
  std::error_code failed;
  fs::create_directories(file.parent_path(), failed);
  fs::path temporary = file;
  temporary += fmt::format(".{}", getpid());
  std::ofstream out(temporary);
  out << all.dump(1) << '\n';
  out.close();
  if (out) fs::rename(temporary, file, failed);
  if (!out || failed) fs::remove(temporary, failed);
}

fs::path cache_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && fs::path(cache).is_absolute()) return fs::path(cache) / "firn" / "providers.json";
  if (home && *home) return fs::path(home) / ".cache" / "firn" / "providers.json";
  return {};
}

}  // namespace

namespace {
ChoiceWatch* watch = nullptr;  // choices, like launches, come from the one thread that drives the engine
}

ChoiceWatch::ChoiceWatch(std::function<void(int)> each) : outer_(watch), each_(std::move(each)) { watch = this; }
ChoiceWatch::~ChoiceWatch() { watch = outer_; }

void note_choice() {
  if (!watch) return;
  ++watch->operations_;
  if (watch->each_) watch->each_(watch->operations_);
}

std::optional<Choice> ChoiceCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(loaded_, true) && !file_.empty()) choices_ = read_choices(file_);
  const auto found = choices_.find(key);
  return found == choices_.end() ? std::nullopt : std::optional(found->second);
}

void ChoiceCache::remember(const std::string& key, const Choice& choice) {
  const std::lock_guard lock(mutex_);
  choices_[key] = choice;
  if (file_.empty()) return;
  std::map<std::string, Choice> all = read_choices(file_);
  for (const auto& [k, c] : choices_) all[k] = c;
  write_choices(file_, all);
}

ChoiceCache& choice_cache() {
  static ChoiceCache cache(cache_file());
  return cache;
}

std::optional<Chosen> choose(ChoiceCache& cache, const std::string& key, std::span<const Candidate> candidates,
                             const Timer& timer) {
  note_choice();
  const bool deterministic = numerics().deterministic;
  if (!deterministic)
    if (const auto remembered = cache.find(key))
      for (size_t i = 0; i < candidates.size(); ++i)
        if (candidates[i].name == remembered->name && candidates[i].prepare()) return Chosen{i, true};

  if (deterministic || !timer || candidates.size() < 2) {
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].prepare()) return Chosen{i, deterministic || candidates.size() < 2};
    return std::nullopt;
  }
  size_t best = 0;
  double least = INFINITY;
  std::map<std::string, double> measured;
  std::exception_ptr failure;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].prepare()) continue;
    try {
      const double us = measured[candidates[i].name] = timer(candidates[i].run);
      if (us < least) {
        least = us;
        best = i;
      }
    } catch (const DeviceError&) {
      failure = std::current_exception();
    }
  }
  if (least == INFINITY && failure) std::rethrow_exception(failure);  // more likely the device's fault than theirs
  if (least == INFINITY) return std::nullopt;
  cache.remember(key, {candidates[best].name, least, std::move(measured)});
  return Chosen{best, true};
}

}  // namespace firn::kernels
