#include "training/latents/projector.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "kernels/ops/control.h"
#include "models/layers/maker.h"

namespace firn {
namespace {

constexpr int64_t kSmallest = 32, kLargest = 256;  // sides of what LPIPS compares

// Three channels of a size that feature networks have a use for.
Tensor comparable(const Tensor& images) {
  const int64_t h = images.dim(1), w = images.dim(2), side = std::min(h, w);
  Tensor x = images.dim(3) == 1 ? concat({images, images, images}, 3) : slice(images, 3, 0, 3);
  x = as_type(x, DType::f32);
  const double by = double(std::clamp(side, kSmallest, kLargest)) / double(side);
  const auto scaled = [&](int64_t size) { return int64_t(std::lround(double(size) * by)); };
  return by == 1 ? x : resize(x, scaled(h), scaled(w), by < 1 ? Resize::area : Resize::bicubic);
}

// x [N,H,W] moved on by one along an axis, what leaves it coming in on the other side.
Tensor rolled(const Tensor& x, int axis) {
  const int64_t n = x.dim(axis);
  return concat({slice(x, axis, n - 1, n), slice(x, axis, 0, n - 1)}, axis);
}

// How much neighbours in maps of noise [N,H,W] have to do with each other, at every scale; summed over images.
Tensor correlation(Tensor x) {
  Tensor all;
  for (;;) {
    const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2);
    for (const int axis : {1, 2}) {
      const Tensor part = sum(square(mean_axes(x * rolled(x, axis), {1, 2})));
      all = all.defined() ? all + part : part;
    }
    if (std::min(h, w) <= 8 || h % 2 || w % 2) return all;
    x = reshape(average_pool(reshape(x, {n, h, w, 1})), {n, h / 2, w / 2});
  }
}

// 1 where `holds`, else 0.
Tensor mask(const Tensor& x, bool (*holds)(double)) {
  std::vector<double> values = x.to_doubles();
  for (double& v : values) v = holds(v);
  return Tensor::from(std::span<const double>(values), x.shape(), x.type(), x.device());
}

void set_number(Tensor& t, double value) {
  dispatch_acc(t.type(), [&](auto tag) {
    const decltype(tag) v(value);
    kernels::set_values<decltype(tag)>(t.stream(), t.mutable_data(), std::span(&v, 1));
  });
}

Parameters as_parameters(const Tensor& w, const std::vector<Tensor>& maps) {
  Parameters all;
  all.add(Parameter("w", w));
  for (size_t i = 0; i < maps.size(); ++i) all.add(Parameter(fmt::format("noise.{}", i), maps[i]));
  return all;
}

}  // namespace

Projector::Projector(const StyleGenerator& g, const Tensor& targets, const Lpips* lpips, ProjectionOptions options)
    : g_(g),
      lpips_(lpips),
      options_(options),
      targets_(targets),
      white_(mask(targets, [](double v) { return v >= 1; })),
      black_(mask(targets, [](double v) { return v <= -1; })),
      rng_{.seed = options.seed},
      replay_(g.device(), std::make_shared<Arena>()) {
  if (!lpips && options.pixels <= 0) throw ConfigError("projection: there is nothing to compare images by");
  begin();
}

// For each target the candidate [K,w_dim] whose image is nearest, or the mean where none is nearer: [N,w_dim].
Tensor Projector::nearest(const Tensor& candidates, const Tensor& mean) const {
  const int64_t n = targets_.dim(0);
  std::vector<double> least;
  std::vector<Tensor> best(size_t(n), mean);
  for (int64_t k = -1; k < candidates.dim(0); ++k) {
    const Tensor w = k < 0 ? mean : slice(candidates, 0, k, k + 1);
    const Tensor image = g_.synthesize(g_.broadcast(w), {});
    const std::vector<double> d = distance(within_range(expand(image, targets_.shape(), image.type()))).to_doubles();
    for (size_t i = 0; i < best.size(); ++i)
      if (k >= 0 && d[i] < least[i]) best[i] = w, least[i] = d[i];
    if (k < 0) least = d;
  }
  return concat(best, 0);
}

// w begins near the mean of what normal latents are mapped to.
void Projector::begin() {
  const NoGrad no_grad;
  const int64_t n = targets_.dim(0);
  constexpr int at_once = 1000;
  Tensor sum_of_w, squares, candidates;
  const int batches = std::max(1, options_.samples / at_once);
  for (int i = 0; i < batches; ++i) {
    std::vector<int32_t> classes(g_.classes() > 0 ? at_once : 0);
    for (int32_t& c : classes) c = options_.klass >= 0 ? options_.klass : int32_t(rng_.integer(0, g_.classes()));
    const Tensor labels =
        classes.empty() ? Tensor{} : Tensor::from(std::span<const int32_t>(classes), {at_once}, g_.device());
    const Tensor w = g_.map(randn({at_once, g_.z_dim()}, rng_, g_.type(), g_.device()), labels);
    if (i == 0) candidates = slice(w, 0, 0, std::min(options_.candidates, at_once));
    const Tensor s = sum_to(w, {1, g_.w_dim()}), q = sum(square(w));
    sum_of_w = sum_of_w.defined() ? sum_of_w + s : s;
    squares = squares.defined() ? squares + q : q;
  }
  const double count = double(batches) * at_once;
  const Tensor mean = sum_of_w * (1 / count);
  w_deviation_ = std::sqrt(std::max(0.0, squares.item() / count - sum(square(mean)).item()));
  if (!std::isfinite(w_deviation_)) throw Error("projection: this network makes values that are not finite");

  if (lpips_) target_stages_ = lpips_->stages(comparable(targets_));
  const Tensor first = options_.candidates > 0 ? nearest(candidates, mean) : expand(mean, {n, g_.w_dim()}, g_.type());
  w_ = Tensor::empty({n, options_.plus ? g_.num_ws() : 1, g_.w_dim()}, g_.type(), g_.device());
  w_.copy_from(expand(reshape(first, {n, 1, g_.w_dim()}), w_.shape(), g_.type()));
  if (options_.noise)
    for (const Tensor& map : g_.noise_maps()) {
      maps_.push_back(Tensor::empty({n, map.dim(1), map.dim(2)}, map.type(), g_.device()));
      maps_.back().copy_from(expand(map, maps_.back().shape(), map.type()));
    }
  const Parameters found = as_parameters(w_, maps_);
  adam_ = std::make_unique<Adam>(found, AdamOptions{.lr = options_.lr, .beta1 = 0.9, .beta2 = 0.999});
  w_ = found[0].value();
  for (size_t i = 0; i < maps_.size(); ++i) maps_[i] = found[i + 1].value();
  shake_ = Tensor::zeros({}, g_.type(), g_.device());
  seen_ = Tensor::zeros(targets_.shape(), g_.type(), g_.device());
  distances_ = Tensor::zeros({n}, g_.type(), g_.device());
}

Tensor Projector::styles(const Tensor& w) const {
  return options_.plus ? w : expand(w, {w.dim(0), g_.num_ws(), g_.w_dim()}, w.type());
}

// Bytes end where the range does: what a target has there, an image has that goes beyond it.
Tensor Projector::within_range(const Tensor& images) const {
  return images - relu(images - targets_) * white_ + relu(targets_ - images) * black_;
}

Tensor Projector::perceived(const Tensor& images) const {
  if (!lpips_) throw Error("projection: there is no LPIPS");
  return as_type((*lpips_)(lpips_->stages(comparable(images)), target_stages_), g_.type());
}

Tensor Projector::distance(const Tensor& images) const {
  Tensor d;
  if (lpips_) d = perceived(images);
  if (options_.pixels > 0) {
    const double share = options_.pixels / double(images.count() / images.dim(0));
    const Tensor pixels = sum_per_sample(square(images - targets_)) * share;
    d = d.defined() ? d + pixels : pixels;
  }
  return d;
}

void Projector::step() {
  const double t = double(step_) / options_.steps;
  const double down = std::min(1.0, options_.rampdown > 0 ? (1 - t) / options_.rampdown : 1.0),
               up = std::min(1.0, options_.rampup > 0 ? t / options_.rampup : 1.0);
  const double calm = options_.shaken > 0 ? std::max(0.0, 1 - t / options_.shaken) : 0;
  set_number(shake_, w_deviation_ * options_.shake * calm * calm);
  adam_->set_lr(options_.lr * (0.5 - 0.5 * std::cos(down * std::numbers::pi)) * up);
  adam_->advance();
  const FrozenScope frozen(g_.parameters());
  replay_.run(rng_, [&](Rng& rng) {
    const Tensor w = w_ + randn(w_.shape(), rng, w_.type(), w_.device()) * shake_;
    const Tensor images = g_.synthesize(styles(w), maps_.empty() ? Noise() : Noise(maps_));
    const Tensor by_image = distance(within_range(images));
    Tensor loss = sum(by_image);
    for (const Tensor& map : maps_) loss = loss + correlation(map) * options_.noise_weight;
    adam_->apply(grad(loss, adam_->parameters()));
    const NoGrad no_grad;
    for (Tensor& map : maps_) {
      const Tensor m = map.detach() - mean_axes(map.detach(), {1, 2});
      map.copy_from(m * rsqrt(mean_axes(square(m), {1, 2})));
    }
    seen_.copy_from(images.detach());
    distances_.copy_from(by_image.detach());
  });
  ++step_;
}

Tensor Projector::ws() const {
  const NoGrad no_grad;
  return styles(w_.detach());
}

Tensor Projector::images() const {
  const NoGrad no_grad;
  return g_.synthesize(ws(), maps_.empty() ? Noise() : Noise(maps_));
}

std::vector<double> Projector::distances() const {
  std::vector<double> all = distances_.to_doubles();
  if (!std::ranges::all_of(all, [](double d) { return std::isfinite(d); }))
    throw Error(fmt::format(
        "projection: the distance of images is not finite at step {}; a smaller learning rate may do", step_));
  return all;
}

double psnr(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels)
    throw ShapeError("psnr: the images are of different sizes");
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const double d = double(a.pixels[i]) - double(b.pixels[i]);
    sum += d * d;
  }
  return 20 * std::log10(255 / std::sqrt(sum / double(a.pixels.size())));
}

}  // namespace firn
