#include "models/network.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "models/layers/miner.h"

namespace firn {
namespace {

[[noreturn]] void throw_uncut() { throw ConfigError("this discriminator cannot be cut behind frozen blocks"); }

}  // namespace

void Network::tap(const std::string& name, const Tensor& x) const {
  for (const Taps* taps = slot_.taps; taps; taps = taps->outer_) taps->keep(name, x);
}

Taps::Taps(const Network& network, std::vector<std::string> names)
    : network_(network), names_(std::move(names)), kept_(names_.size()), outer_(network.slot_.taps) {
  const std::vector<std::string> all = network.tap_names();
  for (const std::string& name : names_)
    if (!std::ranges::count(all, name))
      throw ConfigError(fmt::format("there are no activations called {}; there are {}", name, fmt::join(all, ", ")));
  network.slot_.taps = this;
}

Taps::~Taps() { network_.slot_.taps = outer_; }

void Taps::keep(const std::string& name, const Tensor& x) const {
  const auto at = std::ranges::find(names_, name);
  if (at != names_.end()) kept_[size_t(at - names_.begin())].push_back(x);
}

const Tensor& Taps::at(const std::string& name, size_t call) const {
  const auto it = std::ranges::find(names_, name);
  const auto i = size_t(it - names_.begin());
  if (it == names_.end() || call >= kept_[i].size()) throw Error(fmt::format("nothing was kept of {}", name));
  return kept_[i][call];
}

Tensor Generator::latents(const Tensor& z) const { return miner_ ? (*miner_)(z) : z; }

void StyleGenerator::check_noise(const Noise& noise, int64_t n) const {
  if (noise.mode == NoiseMode::random && !noise.rng)
    throw ConfigError("synthesize: random noise needs a random stream");
  if (noise.mode != NoiseMode::given) return;
  const std::vector<Tensor> own = noise_maps();
  if (noise.maps.size() != own.size())
    throw ShapeError(fmt::format("synthesize: {} maps of noise, expected {}", noise.maps.size(), own.size()));
  for (size_t i = 0; i < own.size(); ++i) {
    const Shape &map = noise.maps[i].shape(), one = own[i].shape(), each = {n, one[1], one[2]};
    if (map != one && map != each)
      throw ShapeError(
          fmt::format("synthesize: map {} of noise is {}, expected {}", i, to_string(map), to_string(each)));
  }
}

Tensor Discriminator::features(const Tensor&) const { throw_uncut(); }
Tensor Discriminator::logits(const Tensor&, const Tensor&, int, Mode) const { throw_uncut(); }
Shape Discriminator::features_shape(int64_t) const { throw_uncut(); }

}  // namespace firn
