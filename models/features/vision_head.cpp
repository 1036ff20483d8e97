#include "models/features/vision_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "models/layers/maker.h"

namespace firn {
namespace {

constexpr int kWidth = 256, kNarrow = 128;  // of hidden layers, those behind larger maps being narrower
constexpr int kSmallMap = 7;                // rows up to which a map keeps its size

double equalised(const Tensor& w) { return 1 / std::sqrt(double(w.count() / w.dim(0))); }

}  // namespace

VisionHead::VisionHead(const FeatureNetwork::Levels& like, HeadKind kind, int classes, uint64_t seed, DType type,
                       const Device& device)
    : Network(device), kind_(kind) {
  ParameterMaker make(parameters_, seed, type, device);
  size_t count = 0;
  const auto layer = [&](const std::string& name, int64_t out, int64_t window_y, int64_t window_x, int64_t in) {
    Layer l{.number = count++};
    const Shape shape{out, window_y, window_x, in};
    if (kind == HeadKind::equalised) {
      l.w = make.normal(name + ".weight", shape);
      l.b = make.constant(name + ".bias", {out}, 0);
      return l;
    }
    const double bound = 1 / std::sqrt(double(window_y * window_x * in));  // as PyTorch begins
    l.w = make.uniform(name + ".weight", shape, bound);
    l.b = make.uniform(name + ".bias", {out}, bound);
    l.u = make.normal_buffer(name + ".u", {out}).mark_running();
    return l;
  };
  int64_t width = kWidth;
  if (like.maps.size() == 1) {
    const Tensor& map = like.maps[0];
    if (map.dim(1) < 2 || map.dim(2) < 2)
      throw ConfigError(fmt::format("a map of {}x{} is too small to be judged: give the network larger images",
                                    map.dim(2), map.dim(1)));
    front_ = layer("conv", width, 3, 3, map.dim(3));
    hidden_ = layer("fc", width, map.dim(1) / 2, map.dim(2) / 2, width);
  } else {
    for (size_t i = 0; i < like.maps.size(); ++i) {
      const Tensor& map = like.maps[i];
      Level level{.conv = {}, .logits = {}, .down = map.dim(1) > kSmallMap};
      if (level.down) width = kNarrow;
      level.conv = layer(fmt::format("map{}.conv", i), width, 3, 3, map.dim(3));
      level.logits = layer(fmt::format("map{}.logits", i), 1, 1, 1, width);
      maps_.push_back(std::move(level));
    }
    hidden_ = layer("fc", width, 1, 1, like.pooled.dim(1));
  }
  out_ = layer("out", 1, 1, 1, width);
  if (classes) embedding_ = make.normal("embedding", {classes, width});
}

Tensor VisionHead::run(const Layer& l, const Tensor& x, const Sigmas& sigmas, bool activates, int pad) const {
  const Conv2d conv{.pad = pad};
  if (!sigmas.empty()) return spectral_conv2d(x, l.w(), sigmas[l.number], l.b(), conv, {.slope = activates ? 0.2 : 1});
  Conv2d scaled = conv;
  scaled.gain = equalised(l.w.value());
  return styled_conv2d(x, {}, l.w(), l.b(), scaled, activates ? lrelu() : linear());
}

// A blur, of which the convolution takes every other pixel.
Tensor VisionHead::run_down(const Layer& l, const Tensor& x, const Sigmas& sigmas) const {
  const Fir blur{.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2};
  if (!sigmas.empty())
    return spectral_conv2d(upfirdn2d(x, blur), l.w(), sigmas[l.number], l.b(), {.stride = 2}, {.slope = 0.2});
  return conv2d_down(x, l.w(), l.b(), blur, {.stride = 2, .gain = equalised(l.w.value())}, lrelu());
}

// x [N,1,1,width] -> [N,1,1,1]
Tensor VisionHead::judge(const Tensor& x, const Tensor& labels, const Sigmas& sigmas) const {
  const Tensor logits = run(out_, x, sigmas, false);
  if (!embedding_) return logits;
  const int64_t n = x.dim(0);
  return logits + reshape(sum_per_sample(gather((*embedding_)(), labels) * reshape(x, {n, -1})), {n, 1, 1, 1});
}

std::vector<Tensor> VisionHead::operator()(const FeatureNetwork::Levels& levels, const Tensor& labels,
                                           Mode mode) const {
  if (labels.defined() != embedding_.has_value())
    throw ConfigError(embedding_ ? "a conditional head needs labels" : "an unconditional head takes no labels");
  const DType type = out_.w.value().type();
  std::vector<const Layer*> layers;
  for (const Level& level : maps_) layers.insert(layers.end(), {&level.conv, &level.logits});
  if (front_) layers.push_back(&*front_);
  layers.insert(layers.end(), {&hidden_, &out_});
  Sigmas sigmas;
  if (kind_ == HeadKind::spectral) {
    std::vector<SpectralLayer> all;
    for (const Layer* l : layers) all.push_back({l->w().detach(), (*l->u)(), mode == Mode::train});
    const std::vector<Spectral> found = power_iteration(all);
    sigmas.resize(found.size());
    for (size_t i = 0; i < found.size(); ++i) sigmas[layers[i]->number] = found[i];
  }
  if (front_) {
    const Tensor h = run_down(*front_, as_type(levels.maps[0], type), sigmas);
    return {judge(run(hidden_, h, sigmas, true), labels, sigmas)};
  }
  std::vector<Tensor> logits;
  for (size_t i = 0; i < maps_.size(); ++i) {
    const Level& level = maps_[i];
    const Tensor x = as_type(levels.maps[i], type),
                 h = level.down ? run_down(level.conv, x, sigmas) : run(level.conv, x, sigmas, true, 1);
    logits.push_back(run(level.logits, upfirdn2d(h, {.down = 2, .pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1}),
                         sigmas, false));
  }
  const Tensor pooled = as_type(levels.pooled, type);
  const Tensor h = run(hidden_, reshape(pooled, {pooled.dim(0), 1, 1, pooled.dim(1)}), sigmas, true);
  logits.push_back(judge(h, labels, sigmas));
  return logits;
}

VisionDiscriminator::VisionDiscriminator(std::shared_ptr<const FeatureNetwork> network, const Options& o, uint64_t seed)
    : Network(network->device()),
      network_(std::move(network)),
      size_(o.size),
      head_(
          [&] {
            const NoGrad constant;
            return levels(
                Tensor::zeros({1, o.images.height, o.images.width, o.images.channels}, acc_type(o.type), device_));
          }(),
          o.head, o.classes, seed, o.type, device_) {
  parameters_ = head_.parameters();
}

FeatureNetwork::Levels VisionDiscriminator::levels(const Tensor& images) const {
  // On the CPU few images at once: memory for what lies between layers is taken up again by the next.
  const int64_t all = images.dim(0), at_once = images.device().is_cuda() ? all : network_->at_once();
  if (at_once == 0 || all <= at_once) return network_->levels(network_->seen(images, size_));
  std::vector<std::vector<Tensor>> maps;
  std::vector<Tensor> pooled;
  for (int64_t begin = 0; begin < all; begin += at_once) {
    const Tensor some = slice(images, 0, begin, std::min(begin + at_once, all));
    const FeatureNetwork::Levels part = network_->levels(network_->seen(some, size_));
    maps.resize(part.maps.size());
    for (size_t i = 0; i < maps.size(); ++i) maps[i].push_back(part.maps[i]);
    if (part.pooled.defined()) pooled.push_back(part.pooled);
  }
  FeatureNetwork::Levels levels;
  for (const std::vector<Tensor>& parts : maps) levels.maps.push_back(concat(parts, 0));
  if (!pooled.empty()) levels.pooled = concat(pooled, 0);
  return levels;
}

}  // namespace firn
