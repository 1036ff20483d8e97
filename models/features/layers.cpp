#include "models/features/layers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "models/files.h"

namespace firn {

Tensor scaled(const Tensor& images, double scale, double shift, DType type) {
  return as_type(affine(type == DType::f64 ? cast(images, type) : images, scale, shift), type);
}

Tensor mean_of_pixels(const Tensor& x) { return reshape(mean_axes(x, {1, 2}), {x.dim(0), x.dim(3)}); }

Tensor widened(const Tensor& x) { return as_type(x, acc_type(x.type())); }

FeatureNetwork::Levels one_level(const Tensor& map) { return {{map}, mean_of_pixels(map)}; }

Tensor FeatureLayer::operator()(const Tensor& x) const {
  if (!gamma.defined()) return styled_conv2d(x, {}, w, b, conv, act);
  return bias_act(batch_norm(conv2d(x, w, conv), gamma, beta, {.eps = eps}), {}, act);
}

Tensor InvertedResidual::operator()(const Tensor& x) const {
  const Tensor h = project(depthwise(expand.w.defined() ? expand(x) : x));
  return adds ? h + x : h;
}

std::vector<Tensor> maps_behind(const std::vector<InvertedResidual>& blocks, Tensor x,
                                const std::vector<int>& numbers) {
  std::vector<Tensor> maps;
  for (size_t i = 0; maps.size() < numbers.size(); ++i) {
    x = blocks[i](std::exchange(x, {}));
    if (int(i) == numbers[maps.size()]) maps.push_back(x);
  }
  return maps;
}

// As a convolution whose pixels are the samples: a product of matrices rounds otherwise where there is one row, and the
// same image shall always have the same features.
Tensor fully_connected(const Tensor& x, const FeatureLayer& layer) {
  FeatureLayer flat = layer;
  flat.w = layer.w.view({layer.out(), 1, 1, x.dim(1)});
  flat.conv = {};
  return reshape(flat(reshape(x, {1, x.dim(0), 1, x.dim(1)})), {x.dim(0), layer.out()});
}

Tensor each_token(const FeatureLayer& layer, const Tensor& x) {
  Shape shape = x.shape();
  shape.back() = layer.out();
  return reshape(layer(reshape(x, {1, 1, -1, x.dim(-1)})), shape);
}

std::string prefix_of(const SafetensorsFile& file, const std::string& name,
                      std::initializer_list<const char*> prefixes) {
  for (const char* prefix : prefixes)
    if (file.contains(prefix + name)) return prefix;
  return "";
}

std::vector<int64_t> shape_in(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  return found == file.tensors.end() ? std::vector<int64_t>{} : found->second.shape;
}

Tensor LayerReader::tensor(const std::string& name, std::span<const double> values, Shape shape) const {
  Tensor t = Tensor::from(values, std::move(shape), acc_type(options_.type), device_);
  list_.add(Parameter(name, t, ParameterKind::buffer));
  return t;
}

std::vector<double> LayerReader::channels(const std::string& name, int64_t count) const {
  const StoredTensor& t = file_.at(name);
  if (t.shape != Shape{count})
    throw IoError(fmt::format("{}: {} is {}, expected [{}]", file_.name, name, to_string(t.shape), count));
  require_finite(file_, name);
  return t.to_doubles();
}

FeatureLayer LayerReader::operator()(const LayerPlan& plan) const {
  const int64_t KH = plan.window, KW = plan.window_x ? plan.window_x : plan.window, I = plan.depthwise ? 1 : plan.in;
  const std::string name = plan.name + plan.joint + "weight", bias = plan.name + plan.joint + "bias";
  const StoredTensor& stored = file_.at(name);
  const int64_t O = stored.shape.empty() ? 0 : stored.shape[0], taps = KH * KW;
  if (plan.out && O != plan.out)
    throw IoError(fmt::format("{}: {} is {}, expected {} rows", file_.name, name, to_string(stored.shape), plan.out));
  const bool flat = KH * KW == 1 && stored.shape == Shape{O, I};  // of a fully connected layer
  if (O < 1 || (plan.depthwise && O != plan.in) ||
      (!flat && stored.shape != Shape{O, I, KH, KW} && stored.shape != Shape{O, I * taps}))
    throw IoError(fmt::format("{}: {} is {}, expected [{},{},{},{}]", file_.name, name, to_string(stored.shape),
                              plan.depthwise ? std::to_string(plan.in) : "n", I, KH, KW));
  require_finite(file_, name);

  FeatureLayer layer{.act = plan.act, .eps = plan.eps};
  layer.conv = {.stride = plan.stride,
                .pad = plan.pad < 0 ? int(KH / 2) : plan.pad,
                .pad_x = plan.pad < 0 ? int(KW / 2) : plan.pad,
                .groups = plan.depthwise ? int(O) : 1,
                .behind = plan.behind};
  std::vector<double> scale(size_t(O), 1), shift(size_t(O), 0);
  bool has_bias = has(bias);
  if (has_bias) shift = channels(bias, O);
  if (!plan.norm.empty()) {
    const auto beta = channels(plan.norm + ".bias", O);
    const auto gamma = has(plan.norm + ".weight") ? channels(plan.norm + ".weight", O) : scale;
    if (options_.batch_statistics) {
      layer.gamma = tensor(plan.norm + ".weight", gamma, {O});
      layer.beta = tensor(plan.norm + ".bias", beta, {O});
    } else {
      const auto mean = channels(plan.norm + ".running_mean", O), variance = channels(plan.norm + ".running_var", O);
      for (size_t o = 0; o < size_t(O); ++o) {
        if (variance[o] < 0) throw IoError(fmt::format("{}: {}.running_var is negative", file_.name, plan.norm));
        scale[o] = gamma[o] / std::sqrt(variance[o] + plan.eps);
        shift[o] = beta[o] + (shift[o] - mean[o]) * scale[o];
      }
      has_bias = true;
    }
  }
  if (!plan.gain.empty()) {
    const auto gain = channels(plan.gain, O);
    for (size_t o = 0; o < size_t(O); ++o) scale[o] *= gain[o], shift[o] *= gain[o];
  }
  const std::vector<double> from = stored.to_doubles();
  std::vector<double> to(from.size());
  for (int64_t o = 0; o < O; ++o)
    for (int64_t i = 0; i < I; ++i)
      for (int64_t k = 0; k < taps; ++k)
        to[size_t((o * taps + k) * I + i)] = from[size_t((o * I + i) * taps + k)] * scale[size_t(o)];
  layer.w = tensor(name, to, {O, KH, KW, I});
  if (has_bias) layer.b = tensor(bias, shift, {O});
  return layer;
}

LayerNorm LayerReader::norm(const std::string& name, int64_t count, double eps) const {
  const std::string gamma = name + ".weight", beta = name + ".bias";
  return {tensor(gamma, channels(gamma, count), {count}), tensor(beta, channels(beta, count), {count}), eps};
}

Tensor LayerReader::matrix(const std::string& name, int64_t rows, int64_t columns) const {
  const StoredTensor& t = file_.at(name);
  const int64_t count = t.count(), known = (rows < 0 ? 1 : rows) * (columns < 0 ? 1 : columns);
  if (rows < 0 || columns < 0 ? count < known || count % known : count != known) {
    const auto size = [](int64_t n) { return n < 0 ? std::string("n") : std::to_string(n); };
    throw IoError(fmt::format("{}: {} is {}, expected {} x {} numbers", file_.name, name, to_string(t.shape),
                              size(rows), size(columns)));
  }
  require_finite(file_, name);
  return tensor(name, t.to_doubles(), {rows < 0 ? count / known : rows, columns < 0 ? count / known : columns});
}

}  // namespace firn
