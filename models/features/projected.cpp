#include "models/features/projected.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "models/layers/maker.h"

namespace firn {
namespace {

constexpr int kScales = 4, kPublishedWidth = 64;
constexpr int kWindow = 4, kEnd = 8;         // of judges: of a convolution, and rows where the last one reads
constexpr int kEmbedding = 128, kCond = 64;  // of classes, and channels that it weighs
constexpr double kEps = 1e-5;                // of batch norm

// The power of two that lies next to it, the smaller one of two.
int64_t nearest_power(int64_t rows) {
  const auto below = int64_t(std::bit_floor(uint64_t(rows)));
  return rows - below <= 2 * below - rows ? below : 2 * below;
}

// Channels of a judge's maps of so many rows, of which the published code has a table.
int64_t channels_at(int64_t rows) { return rows <= 8 ? 512 : rows <= 64 ? 4096 / rows : 8192 / rows; }

// As PyTorch's convolutions begin, but normal, and without a bias.
Tensor mix_1x1(const Tensor& x, const Parameter& w) {
  return conv2d(x, w(), {.gain = 1 / std::sqrt(3.0 * double(x.dim(3)))});
}

}  // namespace

ProjectedDiscriminator::ProjectedDiscriminator(std::shared_ptr<const FeatureNetwork> network, const Options& o,
                                               uint64_t seed)
    : Discriminator(network->device()), network_(std::move(network)), options_(o) {
  ParameterMaker make(parameters_, seed, o.type, device_);
  const auto mixed = [&](int scale) { return int64_t(o.width) << scale; };  // channels of that map, once they are mixed
  const auto judged = [&](int scale) { return scale == 0 ? int64_t(o.width) : mixed(scale) / 2; };
  const NoGrad constant;
  const Maps found = network_->pyramid(network_->seen(
      Tensor::zeros({1, o.images.height, o.images.width, o.images.channels}, acc_type(o.type), device_), o.size));
  for (int i = 0; i < kScales; ++i) {
    channels_[size_t(i)] =
        make.normal_buffer(fmt::format("mix{}.channels", i), {mixed(i), 1, 1, found[size_t(i)].dim(3)});
    scales_[size_t(i)] = make.normal_buffer(fmt::format("mix{}.scales", i), {judged(i), 1, 1, mixed(i)});
  }
  size_t count = 0;
  for (int i = 0; i < kScales; ++i) {
    const Tensor& below = found[size_t(std::max(i - 1, 0))];
    const int64_t grown = i ? 1 : 2;
    Judge& j = judges_.emplace_back();
    j.map = {below.dim(1) * grown, below.dim(2) * grown, judged(i)};
    int64_t side = std::min(j.map[0], j.map[1]);
    if (side < kWindow)
      throw ConfigError(
          fmt::format("maps of {} rows are too small to be judged: give the network larger images", side));
    const auto conv = [&](const std::string& name, int64_t in, int64_t out, int64_t rows) {
      const double bound = 1 / std::sqrt(double(kWindow * kWindow * in));
      Conv c{.w = make.uniform(name + ".weight", {out, kWindow, kWindow, in}, bound),
             .u = make.normal_buffer(name + ".u", {out}).mark_running(),
             .number = count++};
      layers_.push_back({.name = name,
                         .block = fmt::format("judge{}", i),
                         .parameters = {name + ".weight"},
                         .flops = 2.0 * double(kWindow * kWindow * in * out * rows * rows),
                         .head = true});
      return c;
    };
    const std::string name = fmt::format("judge{}.", i);
    int64_t in = j.map[2];
    for (int64_t rows = nearest_power(side); rows > kEnd; rows /= 2) {
      const int64_t out = channels_at(rows / 2) * o.width / kPublishedWidth;
      const std::string at = fmt::format("{}down{}", name, j.down.size());
      Down d{.conv = conv(at, in, out, side /= 2), .gamma = {}, .beta = {}};
      d.gamma = make.constant(at + ".gamma", {out}, 1);
      d.beta = make.constant(at + ".beta", {out}, 0);
      j.down.push_back(std::move(d));
      in = out;
    }
    j.out = conv(name + "out", in, o.classes ? kCond : 1, side - kWindow + 1);
    if (o.classes == 0) continue;
    const double bound = 1 / std::sqrt(double(kEmbedding));
    j.embedding = make.normal(name + "embedding", {o.classes, kEmbedding});
    j.w = make.uniform(name + "class.weight", {kCond, kEmbedding}, bound);
    j.b = make.uniform(name + "class.bias", {kCond}, bound);
  }
}

// Four maps, from the largest to the smallest. Mixing channels comes before what makes maps larger, where it costs a
// quarter: either order gives the same.
ProjectedDiscriminator::Maps ProjectedDiscriminator::mix(const Tensor& images) const {
  const Maps found = network_->pyramid(network_->seen(images, options_.size));
  Maps maps(kScales);
  Tensor deeper;
  for (size_t i = kScales; i-- > 0;) {
    const Tensor own = mix_1x1(as_type(found[i], options_.type), channels_[i]),
                 mixed = mix_1x1(deeper.defined() ? own + deeper : own, scales_[i]);
    maps[i] = deeper = resize(mixed, judges_[i].map[0], judges_[i].map[1], Resize::bilinear);
  }
  return maps;
}

// x [N,h,w,C] -> [N,places]
Tensor ProjectedDiscriminator::judge(const Judge& by, Tensor x, const Tensor& labels,
                                     const std::vector<Spectral>& sigmas) const {
  for (const Down& d : by.down) {
    x = spectral_conv2d(x, d.conv.w(), sigmas[d.conv.number], {}, {.stride = 2, .pad = 1}, {});
    x = bias_act(batch_norm(x, d.gamma(), d.beta(), {.eps = kEps}), {}, {.slope = 0.2});
  }
  const Tensor out = spectral_conv2d(x, by.out.w(), sigmas[by.out.number], {}, {}, {});
  const int64_t N = out.dim(0), places = out.dim(1) * out.dim(2);
  if (!by.embedding) return reshape(out, {N, places});
  const Tensor of_class =
      bias_act(matmul(gather((*by.embedding)(), labels), by.w(), {.trans_b = true}), by.b(), {.slope = 0.2});
  const Tensor weighed = reshape(scale_channels(out, of_class), {N, places, kCond});
  return reshape(sum_to(weighed, {N, places, 1}), {N, places}) * (1 / std::sqrt(double(kCond)));
}

Tensor ProjectedDiscriminator::judge(const Maps& maps, const Tensor& labels, int segments, Mode mode) const {
  const int64_t N = maps[0].dim(0), each = N / segments;
  if (each * segments != N) throw ShapeError(fmt::format("{} images are not {} segments", N, segments));
  if (labels.defined() != judges_[0].embedding.has_value())
    throw ConfigError(labels.defined() ? "an unconditional discriminator takes no labels"
                                       : "a conditional discriminator needs labels");
  std::vector<SpectralLayer> layers;
  for (const Judge& j : judges_) {
    for (const Down& d : j.down) layers.push_back({d.conv.w().detach(), d.conv.u(), mode == Mode::train});
    layers.push_back({j.out.w().detach(), j.out.u(), mode == Mode::train});
  }
  const std::vector<Spectral> sigmas = power_iteration(layers);
  std::vector<Tensor> all;
  for (int s = 0; s < segments; ++s) {
    const auto part = [&](const Tensor& x) {
      return segments == 1 || !x.defined() ? x : slice(x, 0, s * each, (s + 1) * each);
    };
    std::vector<Tensor> places;
    for (size_t i = 0; i < judges_.size(); ++i)
      places.push_back(judge(judges_[i], part(maps[i]), part(labels), sigmas));
    all.push_back(concat(places, 1));
  }
  return segments == 1 ? all[0] : concat(all, 0);
}

Tensor ProjectedDiscriminator::operator()(const Tensor& images, const Tensor& labels, int segments, Mode mode) const {
  return judge(mix(images), labels, segments, mode);
}

Tensor ProjectedDiscriminator::features(const Tensor& images) const {
  Maps maps = mix(images);
  for (Tensor& map : maps) map = reshape(map, {map.dim(0), -1});
  return concat(maps, 1);
}

Tensor ProjectedDiscriminator::logits(const Tensor& features, const Tensor& labels, int segments, Mode mode) const {
  const int64_t N = features.dim(0);
  if (const Shape expected = features_shape(N); features.shape() != expected)
    throw ShapeError(
        fmt::format("projected features {}, expected {}", to_string(features.shape()), to_string(expected)));
  Maps maps;
  int64_t begin = 0;
  for (const Judge& j : judges_) {
    const int64_t end = begin + count(j.map);
    maps.push_back(reshape(slice(features, 1, std::exchange(begin, end), end), {N, j.map[0], j.map[1], j.map[2]}));
  }
  return judge(maps, labels, segments, mode);
}

Shape ProjectedDiscriminator::features_shape(int64_t n) const {
  int64_t numbers = 0;
  for (const Judge& j : judges_) numbers += count(j.map);
  return {n, numbers};
}

}  // namespace firn
