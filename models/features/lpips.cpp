#include "models/features/lpips.h"

#include <array>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/files.h"

namespace firn {
namespace {

// By pixel, of length 1; where there is nothing, nothing.
Tensor unit(const Tensor& x) {
  constexpr double eps = 1e-10;
  const Tensor wide = widened(x), length = sqrt(sum_to(square(wide), {x.dim(0), x.dim(1), x.dim(2), 1}) + eps * eps);
  return div(wide, length + eps);
}

}  // namespace

Lpips::Lpips(const FeatureNetwork& network, const SafetensorsFile& heads) : network_(network) {
  const auto by_channel = [&](std::array<double, 3> v) { return Tensor::from(v, {3}, DType::f32, network.device()); };
  shift_ = by_channel({-.030, -.088, -.188});
  scale_ = by_channel({.458, .448, .450});
  const std::vector<int> channels = network.stage_channels();
  if (channels.empty()) network.stages({});  // says that there are none
  for (size_t i = 0; i < channels.size(); ++i) {
    const std::string lin = fmt::format("lin{}.", i), long_name = lin + "model.1.weight";
    const std::string name = heads.contains(long_name) ? long_name : lin + "weight";
    const StoredTensor& t = heads.at(name);
    if (t.shape != Shape{1, channels[i], 1, 1})
      throw IoError(fmt::format("{}: {} is {}, expected [1,{},1,1]: these are the weights of LPIPS on another network",
                                heads.name, name, to_string(t.shape), channels[i]));
    require_finite(heads, name);
    heads_.push_back(Tensor::from(t.to_floats(), {channels[i], 1}, DType::f32, network.device()));
  }
  if (heads.contains(fmt::format("lin{}.weight", channels.size())) ||
      heads.contains(fmt::format("lin{}.model.1.weight", channels.size())))
    throw IoError(fmt::format("{}: has more than {} stages: these are the weights of LPIPS on another network",
                              heads.name, channels.size()));
}

std::vector<Tensor> Lpips::stages(const Tensor& images) const {
  const DType type = images.type();
  std::vector<Tensor> all = network_.stages((images - as_type(shift_, type)) / as_type(scale_, type));
  for (Tensor& stage : all) stage = unit(stage);
  return all;
}

Tensor Lpips::operator()(const Tensor& a, const Tensor& b) const {
  if (a.shape() != b.shape() || a.rank() != 4 || a.dim(3) != 3)
    throw ShapeError(
        fmt::format("lpips: {} and {}; expected [N,H,W,3] twice", to_string(a.shape()), to_string(b.shape())));
  return (*this)(stages(a), stages(b));
}

Tensor Lpips::operator()(const std::vector<Tensor>& a, const std::vector<Tensor>& b) const {
  Tensor distance;
  for (size_t i = 0; i < heads_.size(); ++i) {
    const Tensor difference = mean_of_pixels(square(a[i] - b[i]));  // [N,C]
    const Tensor part = matmul(difference, as_type(heads_[i], difference.type()));
    distance = distance.defined() ? distance + part : part;
  }
  return reshape(distance, {distance.dim(0)});
}

}  // namespace firn
