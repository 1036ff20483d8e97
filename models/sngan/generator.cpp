// SNGAN's generator. What nearest-neighbour upsampling only repeats is computed before it: the 1x1 shortcuts, and of
// 3x3 windows all but a sum of 2x2.
#include <numbers>

#include "base/error.h"
#include "engine/range.h"
#include "models/sngan/layers.h"

namespace firn {
namespace {

BatchNormLayer make_norm(ParameterMaker& make, const std::string& name, int channels, int classes) {
  const Shape shape = classes ? Shape{classes, channels} : Shape{channels};
  return {.gamma = make.constant(name + ".gamma", shape, 1),
          .beta = make.constant(name + ".beta", shape, 0),
          .avg_mean = make.buffer(name + ".avg_mean", {channels}, 0).mark_running(),
          .avg_var = make.buffer(name + ".avg_var", {channels}, 1).mark_running()};
}

// ReLU of the normalised x, by the class of each sample where the layer has classes.
Tensor norm_relu(const BatchNormLayer& layer, const Tensor& x, const Tensor& labels, BatchNorm by) {
  const bool by_class = layer.gamma().rank() == 2;
  by.relu = true;
  by.avg_mean = layer.avg_mean();
  by.avg_var = layer.avg_var();
  return batch_norm(x, by_class ? gather(layer.gamma(), labels) : layer.gamma(),
                    by_class ? gather(layer.beta(), labels) : layer.beta(), by);
}

Tensor conv(const Tensor& x, const Parameter& w, const Parameter& b) {
  return styled_conv2d(x, {}, w(), b(), {.pad = static_cast<int>(w.value().dim(1) / 2)}, linear());
}

// conv(upsample_nearest(x))
Tensor up_conv(const Tensor& x, const Parameter& w, const Parameter& b) {
  return styled_conv2d_up(x, {}, flip(w(), {1, 2}), b(), {.stride = 2, .transposed = true}, two_by_two(1, 4), linear());
}

Tensor up_block(const SnganUpBlock& b, const Tensor& x, const Tensor& labels, const BatchNorm& by) {
  const Range range("G.{}", b.name);
  Tensor h = up_conv(norm_relu(b.b1, x, labels, by), b.c1_weight, b.c1_bias);
  h = norm_relu(b.b2, std::exchange(h, {}), labels, by);
  return conv(h, b.c2_weight, b.c2_bias) + upsample_nearest(conv(x, b.c_sc_weight, b.c_sc_bias));
}

}  // namespace

SnganGenerator::SnganGenerator(SnganOptions options, const Device& device) : Generator(device), options_(options) {
  const SnganOptions& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  const std::vector<int> widths = o.g_widths();
  const auto layer = [&](const std::string& name, Shape shape, double gain) {
    const int64_t out = shape[0];
    Parameter weight = glorot(make, name + ".weight", std::move(shape), gain);
    return std::pair(weight, make.constant(name + ".bias", {out}, 0));
  };
  std::tie(l1_weight_, l1_bias_) = layer("l1", {16 * widths[0], o.z_dim}, 1);
  for (size_t i = 1; i < widths.size(); ++i) {
    const int in = widths[i - 1], out = widths[i];
    SnganUpBlock b;
    b.name = fmt::format("block{}", i + 1);
    std::tie(b.c1_weight, b.c1_bias) = layer(b.name + ".c1", {out, 3, 3, in}, std::numbers::sqrt2);
    std::tie(b.c2_weight, b.c2_bias) = layer(b.name + ".c2", {out, 3, 3, out}, std::numbers::sqrt2);
    std::tie(b.c_sc_weight, b.c_sc_bias) = layer(b.name + ".c_sc", {out, 1, 1, in}, 1);
    b.b1 = make_norm(make, b.name + ".b1", in, o.c_dim);
    b.b2 = make_norm(make, b.name + ".b2", out, o.c_dim);
    blocks_.push_back(std::move(b));
  }
  const size_t last = widths.size() + 1;
  b7_ = make_norm(make, fmt::format("b{}", last), widths.back(), 0);
  std::tie(l7_weight_, l7_bias_) = layer(fmt::format("l{}", last), {o.img_channels, 3, 3, widths.back()}, 1);
}

Tensor SnganGenerator::run(const Tensor& z, const Tensor& labels, const BatchNorm& by) const {
  const SnganOptions& o = options_;
  if (labels.defined() != (o.c_dim > 0))
    throw ConfigError(o.c_dim ? "a conditional generator needs labels" : "an unconditional generator takes no labels");
  Tensor x;
  {
    const Range range("G.l1");
    x = bias_act(matmul(latents(z), l1_weight_(), {.trans_b = true}), l1_bias_(), linear());
    x = permute(reshape(x, {z.dim(0), -1, 4, 4}), {0, 2, 3, 1});  // files hold l1's rows for channels first
    if (o.activation_type == DType::bf16) x = cast(x, DType::bf16);
  }
  for (const SnganUpBlock& block : blocks_) {
    x = up_block(block, x, labels, by);
    tap(block.name, x);
  }
  const Range range("G.l7");
  return tanh(as_type(conv(norm_relu(b7_, x, {}, by), l7_weight_, l7_bias_), o.type));
}

Tensor SnganGenerator::forward(const Tensor& z, const Tensor& labels, Rng*) const { return run(z, labels, {}); }

Code SnganGenerator::code(const Tensor& z, const Tensor& labels, Truncation truncation) const {
  if (truncation.psi != 1) throw ConfigError("truncation: this network is not style-based");
  return {drawn(z), labels};
}

Tensor SnganGenerator::image(const Code& code, const Noise&) const {
  return run(code.values, code.labels, {.train = false});
}

Generator::Parts SnganGenerator::parts() const {
  Parts parts{.mapping = {}, .blocks = {}, .styles = {"*.gamma", "*.beta"}, .outputs = {"*.gamma", "*.beta"}};
  for (const SnganUpBlock& block : blocks_) parts.blocks.push_back({block.name + ".*"});
  parts.blocks.front().push_back("l1.*");
  return parts;
}

std::vector<std::string> SnganGenerator::tap_names() const {
  std::vector<std::string> names;
  for (const SnganUpBlock& block : blocks_) names.push_back(block.name);
  return names;
}

void SnganGenerator::estimate_statistics() {
  constexpr int batches = 32, batch = 32;
  const NoGrad no_grad;
  Rng rng;
  for (int i = 0; i < batches; ++i) {
    Tensor labels;
    if (options_.c_dim) {
      std::vector<int32_t> classes(batch);
      for (int k = 0; k < batch; ++k) classes[size_t(k)] = (i * batch + k) % options_.c_dim;
      labels = Tensor::from(classes, {batch}, device());
    }
    run(randn({batch, options_.z_dim}, rng, options_.type, device()), labels, {.decay = i / (i + 1.0)});
  }
}

}  // namespace firn
