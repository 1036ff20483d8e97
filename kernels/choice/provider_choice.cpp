#include "kernels/choice/provider_choice.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "kernels/choice/plan_store.h"
#include "kernels/choice/provider_numerics.h"

namespace firn::kernels {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "firn provider choices 2";
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
    const json measured = value.value("measured", json()), failed = value.value("failed", json());
    if (!name.is_string() || !microseconds.is_number()) continue;
    Choice& choice = choices[key] = {name, microseconds};
    for (const auto& [way, us] : measured.items())
      if (us.is_number()) choice.measured[way] = us;
    for (const auto& [way, driver] : failed.items())
      if (driver.is_string()) choice.failed[way] = driver;
  }
  return choices;
}

// Readers see the old file or the new one, never half of it.
void write_choices(const fs::path& file, const std::map<std::string, Choice>& choices) {
  json all = {{"format", kFormat}, {"choices", json::object()}};
  for (const auto& [key, choice] : choices) {
    json& value = all["choices"][key];
    value = {{"name", choice.name}, {"microseconds", choice.microseconds}, {"measured", choice.measured}};
    if (!choice.failed.empty()) value["failed"] = choice.failed;
  }
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

ChoiceWatch* watch = nullptr;  // choices, like launches, come from the one thread that drives the engine

}  // namespace

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
  for (const auto& [k, c] : choices_) {
    const auto failed = std::exchange(all[k], c).failed;
    all[k].failed.insert(failed.begin(), failed.end());
  }
  write_choices(file_, all);
}

ChoiceCache& choice_cache() {
  static ChoiceCache cache(cache_folder().empty() ? fs::path() : cache_folder() / "providers.json");
  return cache;
}

namespace {
// Where it stands that a candidate failed: with its operation, or for all that the kernel does on this device.
std::string failure_key(const std::string& key, const Candidate& c) {
  return c.ours.empty() ? key : c.ours + key.substr(std::min(key.find(" | "), key.size()));
}
}  // namespace

void run_named(ChoiceCache& cache, const std::string& key, const Candidate& candidate, const Timer& timer,
               const std::function<void()>& f) try {
  f();
} catch (const DeviceLost& e) {
  if (e.named) throw;  // it was part of another operation
  if (!candidate.last_resort) {
    const std::string where = failure_key(key, candidate);
    Choice choice = cache.find(where).value_or(Choice{});
    choice.failed[candidate.name] = timer.driver;
    cache.remember(where, choice);
  }
  DeviceLost named(fmt::format("{} in \"{}\" of {}", e.fault, candidate.name, key.substr(0, key.find(" | "))),
                   candidate.last_resort    ? "the program has to be started again"
                   : candidate.ours.empty() ? "it is left out from now on: start again"
                                            : "it is left out from now on: start again, or use --no-own-kernels",
                   e.where);
  named.named = true;
  throw named;
}

std::optional<Chosen> choose(ChoiceCache& cache, const std::string& key, std::span<const Candidate> candidates,
                             const Timer& timer) {
  note_choice();
  const bool deterministic = timer.deterministic;
  const Choice remembered = cache.find(key).value_or(Choice{});
  const auto named = [&](const Candidate& c, const std::function<void()>& f) { run_named(cache, key, c, timer, f); };
  const auto prepare = [&](const Candidate& c) {
    const Choice known = c.ours.empty() ? remembered : cache.find(failure_key(key, c)).value_or(Choice{});
    if (const auto failed = known.failed.find(c.name);
        failed != known.failed.end() && failed->second == timer.driver && !c.last_resort)
      return false;
    bool prepared = false;
    named(c, [&] { prepared = c.prepare(); });
    return prepared;
  };
  const auto run_once = [&](const Candidate& c) {
    if (timer.once) named(c, [&] { timer.once(c.run); });
  };

  std::exception_ptr failure;
  bool short_of_memory = false;
  // Whether f() went through; what happens to one candidate is no reason not to try the next.
  const auto survives = [&](const auto& f) {
    try {
      return f();
    } catch (const DeviceLost&) {
      throw;
    } catch (const DeviceError& e) {
      short_of_memory |= dynamic_cast<const OutOfMemory*>(&e) != nullptr;
      failure = std::current_exception();
      return false;
    }
  };
  if (!deterministic)
    for (size_t i = 0; i < candidates.size(); ++i)
      if (candidates[i].name == remembered.name &&
          survives([&] { return prepare(candidates[i]) && (run_once(candidates[i]), true); }))
        return Chosen{i, true};

  if (deterministic || !timer || candidates.size() < 2) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!survives([&] { return prepare(candidates[i]); })) continue;
      run_once(candidates[i]);
      return Chosen{i, deterministic || candidates.size() < 2};
    }
    return std::nullopt;
  }
  size_t best = 0;
  double least = INFINITY;
  std::map<std::string, double> measured;
  for (size_t i = 0; i < candidates.size(); ++i)
    survives([&] {
      const Candidate& c = candidates[i];
      if (!prepare(c)) return false;
      run_once(c);
      named(c, [&] { measured[c.name] = timer.microseconds(c.run); });
      if (const double us = measured[c.name]; us < least) {
        least = us;
        best = i;
      }
      return true;
    });
  if (least == INFINITY && failure) std::rethrow_exception(failure);  // more likely the device's fault than theirs
  if (least == INFINITY) return std::nullopt;
  if (!short_of_memory) cache.remember(key, {candidates[best].name, least, std::move(measured), remembered.failed});
  return Chosen{best, true};
}

}  // namespace firn::kernels
