#include "training/run/team.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "io/json.h"
#include "training/methods/source.h"
#include "training/state/snapshot.h"

namespace firn {
namespace {

constexpr char kBegin = 'B', kIterate = 'I', kFeatures = 'F', kVerify = 'V', kSkipped = 'S', kLeave = 'L';
constexpr int64_t kMeasured = 256;  // images that a process takes at a time: whole batches, as one process has them

// A hash a line of all that every process must have alike. What follows from weights does first.
std::string digest(const TrainOptions& options, TrainState& state) {
  settle_averages(state);
  std::string text;
  for (const auto& [name, tensor] : snapshot_of(options, state).tensors) {
    if (name.starts_with("state.stats.") || name == "state.counters") continue;  // ticks are those of process 0
    Sha256 hash;
    hash.add(tensor.bytes);
    text += fmt::format("{} {}\n", name, hash.hex());
  }
  return text + fmt::format("counters {} {}", state.counters.images, state.counters.iteration);
}

// The first lines in which they differ.
std::string difference(const std::string& a, const std::string& b) {
  const std::vector<std::string> here = parts_of(a, '\n'), there = parts_of(b, '\n');
  for (size_t i = 0; i < std::min(here.size(), there.size()); ++i)
    if (here[i] != there[i]) return fmt::format("\"{}\" and not \"{}\"", printable(there[i]), printable(here[i]));
  return fmt::format("{} lines and not {}", there.size(), here.size());
}

// A table as bytes: of this process's images among those from `first` on; empty: there are none. Behind a mark, which
// no length of a header begins with: what went wrong.
constexpr char kFailed = '!';
std::string own_features(const Communicator& processes, int64_t first, int64_t count, const TrainOptions& options,
                         const TrainState& state, const std::function<const FeatureExtractor&()>& network) try {
  const int64_t begin = first + processes.rank() * kMeasured, n = std::min(kMeasured, count - begin);
  if (n <= 0) return {};
  const FeatureExtractor& find = network();
  return safetensors_bytes(to_file(find(*generated_by(state, options, 0, begin), n, Side::fakes)));
} catch (const std::exception& e) {
  return fmt::format("{}{}: {}", kFailed, processes.name_of(processes.rank()), e.what());
}

// What a follower trains, made of what process 0 sent.
struct Followed {
  Followed(const nlohmann::json& sent, bool shards, const SafetensorsFile& file, const Follower& f,
           Communicator& processes)
      : options(train_options_from_json(sent, "process 0")),
        data(std::make_shared<const Dataset>(options.data)),
        state(options, f.device()) {
    if (const auto different = differences(options.fingerprint, data->fingerprint()); !different.empty())
      throw ConfigError(
          fmt::format("{} is not the data of process 0: {}", options.data.path.string(), fmt::join(different, ", ")));
    refill_sources(state, options, file);
    restore(state, file);
    reals.emplace(
        options, state, data,
        RealsSettings{.plan = plan_reals(options, state.discriminator(), *data,
                                         shards ? DataMemory::shards : f.memory(), shards ? processes.size() : 1),
                      .workers = f.workers,
                      .processes = &processes});
    iteration.emplace(options, state, data.get(), *reals, processes);
  }
  const FeatureExtractor& extractor(const std::string& network, Variant variant, const std::string& sha256) {
    const auto key = std::pair(network, variant);
    if (const auto known = extractors.find(key); known != extractors.end()) return known->second;
    if (network == pixel_features) return extractors.emplace(key, FeatureExtractor(variant)).first->second;
    const FeatureWeights weights = weight_files(options.metrics.features).find(network);
    if (weights.sha256 != sha256)
      throw ConfigError(fmt::format("{} holds other weights than process 0 has", weights.path.string()));
    return extractors.emplace(key, FeatureExtractor(weights, variant, DType::f32, state.device())).first->second;
  }

  TrainOptions options;
  std::shared_ptr<const Dataset> data;
  TrainState state;
  std::map<std::pair<std::string, Variant>, FeatureExtractor> extractors;
  std::optional<Reals> reals;
  std::optional<Iteration> iteration;
};

void do_as_told(Communicator& processes, const Follower& f, int& code) {
  std::optional<Followed> training;
  for (;;) {
    const std::string command = processes.broadcast({});
    switch (command.at(0)) {
      case kBegin: {
        const auto sent = parse_json(command.substr(1), "process 0", {.depth = 9, .values = 1 << 20});
        const std::string bytes = processes.broadcast({});
        training.reset();
        training.emplace(sent["options"], sent["shards"].get<bool>(),
                         parse_safetensors(std::as_bytes(std::span(bytes)), "process 0"), f, processes);
        processes.gather({});
        break;
      }
      case kIterate:
        training->iteration->run();
        break;
      case kFeatures: {
        const auto sent = parse_json(command.substr(1), "process 0", {.depth = 2, .values = 100});
        processes.gather(own_features(processes, sent["first"], sent["count"], training->options, training->state,
                                      [&]() -> const FeatureExtractor& {
                                        settle_averages(training->state);
                                        return training->extractor(sent["network"], Variant(sent["variant"].get<int>()),
                                                                   sent["weights"]);
                                      }));
        break;
      }
      case kSkipped:
        processes.gather(nlohmann::json(training->data->bad_images())
                             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        break;
      case kVerify:
        processes.gather(digest(training->options, training->state));
        break;
      default:
        code = std::stoi(command.substr(1));
        return;
    }
  }
}

}  // namespace

void Team::command(char what, const std::string& with) {
  if (processes_.size() > 1) processes_.broadcast(what + with);
}

void Team::begin(const TrainOptions& options, const TrainState& state, bool together) {
  if (processes_.size() == 1) return;
  apart();
  together_ = true;
  TrainOptions sent = options;
  sent.embed_source = true;  // others need not find its file
  command(kBegin, nlohmann::json{{"options", to_json(options)}, {"shards", together}}.dump());
  processes_.broadcast(safetensors_bytes(snapshot_of(sent, state)));
  together_ = together;
  beginning_ = begun_ = true;
}

void Team::end() {
  apart();
  begun_ = false;
}

void Team::apart() {
  if (together_) processes_.abort(1);
  ready();
}

void Team::ready() {
  together_ = false;
  if (std::exchange(beginning_, false)) processes_.gather({});
}

void Team::iterate(Iteration& iteration) {
  command(kIterate);
  together_ = true;
  iteration.run();
  together_ = false;
}

FeatureTable Team::features(const FeatureExtractor& find, int64_t count, const TrainOptions& options,
                            const TrainState& state, const MeasuringProgress& progress) {
  const std::string what = "generated images";
  if (!begun_)
    return find(*generated_by(state, options), count, Side::fakes, [&](int64_t done) { progress(what, done, count); });
  apart();
  FeatureTable all;
  for (int64_t first = 0; first < count; first += kMeasured * processes_.size()) {
    progress(what, first, count);
    command(kFeatures, nlohmann::json{{"network", find.name()},
                                      {"variant", int(find.variant())},
                                      {"weights", find.weights()},
                                      {"first", first},
                                      {"count", count}}
                           .dump());
    together_ = true;
    const std::vector<std::string> found = processes_.gather(
        own_features(processes_, first, count, options, state, [&]() -> const FeatureExtractor& { return find; }));
    together_ = false;
    for (const std::string& bytes : found) {
      if (bytes.starts_with(kFailed)) throw Error(bytes.substr(1));
      if (!bytes.empty())
        all.append(features_from(parse_safetensors(std::as_bytes(std::span(bytes)), "another process"),
                                 find.network().features()));
    }
  }
  return all;
}

std::vector<BadImage> Team::skipped(const Dataset& data) {
  std::vector<BadImage> all = data.bad_images();
  if (!begun_ || processes_.size() == 1) return all;
  command(kSkipped);
  together_ = true;
  const std::vector<std::string> lists = processes_.gather({});
  together_ = false;
  std::set<BadImage> known(all.begin(), all.end());
  for (const std::string& list : lists) {
    if (list.empty()) continue;  // this process's
    const auto sent = parse_json(list, "another process", {.depth = 3, .values = 1 << 26});
    for (const BadImage& image : sent.get<std::vector<BadImage>>())
      if (known.insert(image).second) all.push_back(image);
  }
  return all;
}

void Team::verify(const TrainOptions& options, TrainState& state) {
  if (processes_.size() == 1) return;
  command(kVerify);
  together_ = true;
  const std::string mine = digest(options, state);
  together_ = false;
  agree(processes_, mine, "another state");
}

void Team::leave(int code) {
  if (processes_.size() == 1) return;
  if (together_) processes_.abort(code ? code : 1);
  ready();
  command(kLeave, std::to_string(code));
}

int follow(Communicator& processes, const Follower& follower) {
  int code = 0;
  const auto named = [&](const char* what) { return fmt::format("{}: {}", processes.name_of(processes.rank()), what); };
  try {
    do_as_told(processes, follower, code);
  } catch (const ConfigError& e) {
    throw ConfigError(named(e.what()));
  } catch (const std::bad_alloc&) {
    throw Error(named("out of memory"));
  } catch (const std::exception& e) {
    throw Error(named(e.what()));
  }
  return code;
}

bool agree(Communicator& processes, const std::string& mine, const std::string& what) {
  const std::vector<std::string> all = processes.gather(mine);
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    if (processes.rank() > 0) return false;
    throw ConfigError(
        fmt::format("{} has {} than process 0: {}", processes.name_of(int(r)), what, difference(all[0], all[r])));
  }
  return true;
}

}  // namespace firn
