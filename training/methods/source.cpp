#include "training/methods/source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "io/files.h"
#include "models/files.h"
#include "models/published.h"
#include "models/registry.h"
#include "training/state/transfer.h"

namespace firn {

void keep_source(TrainState& s, const TrainOptions& o, std::string_view name) {
  for (const Role& role : s.roles)
    if (role.source_of == name) return;
  std::shared_ptr<Network> network;
  if (name == "G") {
    std::shared_ptr<Generator> g = make_generator(o.model, s.device());
    g->mine_with(s.generator().miner());  // what is compared are images of the same latents
    network = std::move(g);
  } else
    network = make_discriminator(o.model, s.device());
  network->parameters().freeze();
  s.roles.emplace_back(fmt::format("{}_source", name), std::move(network)).source_of = name;
}

const Generator& source_generator(const TrainState& s) {
  return static_cast<const Generator&>(*s.role("G_source").network);
}
const Discriminator& source_discriminator(const TrainState& s) {
  return static_cast<const Discriminator&>(*s.role("D_source").network);
}

void require_source(const TrainOptions& o, const char* method) {
  if (o.init.empty())
    throw ConfigError(fmt::format("--method {} adapts the network that a run starts from; give --init FILE", method));
}

bool keeps_sources(const TrainState& s) {
  return std::ranges::any_of(s.roles, [](const Role& r) { return !r.source_of.empty(); });
}

void fill_sources(TrainState& s) {
  for (const Role& role : s.roles)
    if (!role.source_of.empty())
      update_average(role.network->parameters(), s.role(role.source_of).network->parameters(), 0);
}

void refill_sources(TrainState& s, const TrainOptions& o, const SafetensorsFile& snapshot) {
  if (std::ranges::none_of(s.roles,
                           [&](const Role& r) { return !r.source_of.empty() && !has_network(snapshot, r.name); }))
    return;
  const std::string wanted = fmt::format("{} needs the file that the run began with ({}, SHA-256 {}...)", snapshot.name,
                                         o.init, o.init_sha256.substr(0, 12));
  std::error_code none;
  if (!std::filesystem::is_regular_file(o.init, none))
    throw IoError(fmt::format("{}, which is not there; --source says where it is", wanted));
  if (sha256_of_file(o.init) != o.init_sha256)
    throw IoError(fmt::format("{}, and {} is another one; --source says where it is", wanted, o.init));
  transfer(s, o, read_networks(o.init), transfer_options(o));
  fill_sources(s);
}

std::string tap_of_rows(const Discriminator& d, int height, int rows) {
  const std::vector<std::string> all = d.tap_names();
  for (const std::string& name : all)
    if ((height /= 2) <= rows) return name;
  return all.back();
}

std::vector<std::pair<Tensor, Tensor>> SourceTaps::of(const Made& fakes) const {
  if (!fakes.by) throw Error("this objective does not tell how another generator makes the same images");
  {
    const NoGrad constant;
    fakes.by(then_);
  }
  std::vector<std::pair<Tensor, Tensor>> pairs;
  for (const std::string& name : now_taps_.names()) pairs.emplace_back(now_taps_.at(name), then_taps_.at(name));
  return pairs;
}

void add_term(std::vector<Phase>& phases, std::string_view role, const std::string& stat,
              std::function<Tensor(const Inputs&, Rng*)> term) {
  for (Phase& phase : phases) {
    if (phase.trains != role || phase.lazy) continue;
    phase.terms = [=, role = std::string(role), terms = phase.terms](const Inputs& in, Rng* rng) {
      Terms all = terms(in, rng);
      const Tensor more = term(in, rng);
      all.total = all.total + more;
      all.report.push_back({stat, fmt::format("Loss/{}/{}", role, stat), more.detach()});
      return all;
    };
  }
}

}  // namespace firn
