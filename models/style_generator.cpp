// What all style-based generators do with their styles.
#include <algorithm>

#include "base/error.h"
#include "kernels/ops/control.h"
#include "models/network.h"

namespace firn {

Tensor StyleGenerator::broadcast(const Tensor& w, Truncation t) const {
  const int64_t n = w.dim(0), count = num_ws(), width = w_dim();
  const auto repeat = [&](const Tensor& x, int64_t times) {
    return expand(reshape(x, {n, 1, width}), {n, times, width}, x.type());
  };
  const int64_t cut = t.psi == 1 ? 0 : t.cutoff < 0 ? count : std::min<int64_t>(t.cutoff, count);
  if (cut == 0) return repeat(w, count);
  const Tensor truncated = w_avg_() * (1 - t.psi) + w * t.psi;
  if (cut == count) return repeat(truncated, count);
  return concat({repeat(truncated, cut), repeat(w, count - cut)}, 1);
}

Tensor StyleGenerator::mix(const Tensor& w1, const Tensor& w2, const Tensor& share) const {
  const int64_t n = w1.dim(0), count = num_ws(), width = w_dim();
  if (share.shape() != Shape{count})
    throw ShapeError(fmt::format("style mixing: share {} should be [{}]", to_string(share.shape()), count));
  const Tensor first = reshape(share, {1, count, 1}), second = affine(first, -1, 1);
  return reshape(w1, {n, 1, width}) * first + reshape(w2, {n, 1, width}) * second;
}

void StyleGenerator::set_mixing(Tensor& share, int cutoff) const {
  const int count = num_ws();
  if (cutoff < 1 || cutoff > count)
    throw ConfigError(fmt::format("style mixing: the cutoff {} is not in 1..{}", cutoff, count));
  dispatch_acc(share.type(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> values(static_cast<size_t>(count), T(0));
    std::fill_n(values.begin(), cutoff, T(1));
    kernels::set_values<T>(share.stream(), share.mutable_data(), values);
  });
}

Tensor StyleGenerator::mixing(int cutoff) const {
  Tensor share = Tensor::empty({num_ws()}, type(), device_);
  set_mixing(share, cutoff);
  return share;
}

void StyleGenerator::update_w_avg(const Tensor& w) {
  const NoGrad scope;
  const Tensor average = reshape(mean_axes(w.detach(), {0}), {w_dim()});
  w_avg_.value().copy_from(average + (w_avg_() - average) * 0.995);
}

void StyleGenerator::estimate_w_avg() {
  constexpr int batches = 10, batch = 1024;
  const NoGrad no_grad;
  Rng rng;
  Tensor sum;
  for (int i = 0; i < batches; ++i) {
    Tensor labels;
    if (classes()) {
      std::vector<int32_t> of_each(batch);
      for (int k = 0; k < batch; ++k) of_each[size_t(k)] = (i * batch + k) % classes();
      labels = Tensor::from(of_each, {batch}, device_);
    }
    const Tensor w = sum_to(map(randn({batch, z_dim()}, rng, type(), device_), labels), {w_dim()});
    sum = sum.defined() ? sum + w : w;
  }
  w_avg_.value().copy_from(sum * (1.0 / (batches * batch)));
}

void StyleGenerator::require(const Tensor& ws, const Noise& noise) const {
  const int64_t n = ws.dim(0);
  if (ws.shape() != Shape{n, num_ws(), w_dim()})
    throw ShapeError(fmt::format("synthesize: ws {} should be [N,{},{}]", to_string(ws.shape()), num_ws(), w_dim()));
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

}  // namespace firn
