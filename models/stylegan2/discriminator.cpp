// StyleGAN2's discriminator. A prefix of frozen layers records nothing: each activation is dropped as soon as the next
// one is there, so x is handed on by value.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <ranges>
#include <span>
#include <utility>

#include "base/error.h"
#include "engine/range.h"
#include "models/stylegan2/layers.h"

namespace firn {
namespace {

constexpr int kMappingLayers = 8;

double equalised(const Parameter& w) { return 1 / std::sqrt(static_cast<double>(w.count() / w.value().dim(0))); }

BiasAct activation(double clamp, double gain = 1) {
  return lrelu(std::numbers::sqrt2 * gain, clamp < 0 ? -1 : clamp * gain);
}

Tensor conv_layer(const Tensor& x, const Parameter& w, const Parameter& b, Conv2d conv, BiasAct act) {
  conv.gain = equalised(w);
  return styled_conv2d(x, {}, w(), b(), conv, act);
}

Tensor run_block(const DiscriminatorBlock& b, Tensor x, bool residual, double clamp) {
  Tensor half;
  const double gain = residual ? std::sqrt(0.5) : 1;
  if (residual) {
    const Range range("D.b{}.skip", b.size);
    half = downsample2d(x);
  }
  {
    const Range range("D.b{}.conv0", b.size);
    x = conv_layer(x, b.conv0_weight, b.conv0_bias, {.pad = 1}, activation(clamp));
  }
  {
    const Range range("D.b{}.conv1", b.size);
    const Fir blur{.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2};
    x = conv2d_down(std::move(x), b.conv1_weight(), b.conv1_bias(), blur,
                    {.stride = 2, .gain = equalised(b.conv1_weight)}, activation(clamp, gain));
  }
  if (!residual) return x;
  const Range range("D.b{}.skip", b.size);
  return conv2d_add(half, b.skip_weight(), {.gain = gain * equalised(b.skip_weight)}, x);
}

}  // namespace

StyleGan2Discriminator::StyleGan2Discriminator(StyleGan2Options options, const Device& device)
    : Discriminator(device), options_(options) {
  const StyleGan2Options& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  const auto conv_weight = [&](const std::string& name, int out, int in, int kernel) {
    return make.normal(name + ".weight", {out, kernel, kernel, in});
  };
  const auto bias = [&](const std::string& name, int out) { return make.constant(name + ".bias", {out}, 0); };
  const int top = o.channels(4), cells = o.start_height() * o.start_width();
  const bool skips = o.d_architecture == Architecture::skip;

  for (int size : o.blocks() | std::views::drop(1) | std::views::reverse) {
    const std::string name = fmt::format("b{}.", size);
    const int in = o.channels(size), out = o.channels(size / 2);
    DiscriminatorBlock block;
    block.size = size;
    if (skips || blocks_.empty()) {
      block.fromrgb_weight = conv_weight(name + "fromrgb", in, o.img_channels, 1);
      block.fromrgb_bias = bias(name + "fromrgb", in);
    }
    block.conv0_weight = conv_weight(name + "conv0", in, in, 3);
    block.conv0_bias = bias(name + "conv0", in);
    block.conv1_weight = conv_weight(name + "conv1", out, in, 3);
    block.conv1_bias = bias(name + "conv1", out);
    if (o.d_architecture == Architecture::resnet) block.skip_weight = conv_weight(name + "skip", out, in, 1);
    blocks_.push_back(std::move(block));
  }
  if (o.c_dim) mapping_ = make_mapping(make, {.z_dim = 0, .c_dim = o.c_dim, .width = top, .layers = kMappingLayers});
  if (skips) {
    fromrgb_weight_ = conv_weight("b4.fromrgb", top, o.img_channels, 1);
    fromrgb_bias_ = bias("b4.fromrgb", top);
  }
  conv_weight_ = conv_weight("b4.conv", top, top + o.mbstd_channels, 3);
  conv_bias_ = bias("b4.conv", top);
  fc_weight_ = make.normal("b4.fc.weight", {top, top * cells});
  fc_bias_ = bias("b4.fc", top);
  const int outputs = o.c_dim ? top : 1;
  out_weight_ = make.normal("b4.out.weight", {outputs, top});
  out_bias_ = bias("b4.out", outputs);
}

int StyleGan2Discriminator::frozen_blocks() const {
  const auto trains = [&](const DiscriminatorBlock& b) {
    return !parameters_(fmt::format("b{}.*", b.size)).trainable().empty();
  };
  return static_cast<int>(std::ranges::find_if(blocks_, trains) - blocks_.begin());
}

Shape StyleGan2Discriminator::features_shape(int64_t n) const {
  const StyleGan2Options& o = options_;
  if (frozen_blocks() == 0)
    throw ConfigError("no block of D in front is frozen as a whole, so its features change; --freeze-d 1 freezes one");
  if (o.d_architecture == Architecture::skip)
    throw ConfigError("in the skip architecture D reads the images behind its frozen blocks too");
  const int size = o.blocks().back() >> frozen_blocks();
  return {n, o.start_height() * (size / 4), o.start_width() * (size / 4), o.channels(size)};
}

DType StyleGan2Discriminator::features_type() const {
  return options_.activation_type == DType::bf16 ? DType::bf16 : options_.type;
}

Tensor StyleGan2Discriminator::operator()(const Tensor& images, const Tensor& labels, int segments, Mode) const {
  return finish(run_blocks({{}, images}, 0, blocks_.size()), labels, segments);
}

Tensor StyleGan2Discriminator::features(const Tensor& images) const {
  features_shape(images.dim(0));
  return run_blocks({{}, images}, 0, static_cast<size_t>(frozen_blocks())).x;
}

Tensor StyleGan2Discriminator::logits(const Tensor& features, const Tensor& labels, int segments, Mode) const {
  if (const Shape expected = features_shape(features.dim(0)); features.shape() != expected)
    throw ShapeError(
        fmt::format("discriminator: features {} should be {}", to_string(features.shape()), to_string(expected)));
  return finish(run_blocks({features, {}}, static_cast<size_t>(frozen_blocks()), blocks_.size()), labels, segments);
}

StyleGan2Discriminator::State StyleGan2Discriminator::run_blocks(State s, size_t begin, size_t end) const {
  const StyleGan2Options& o = options_;
  const int side = o.blocks().back();
  if (begin == 0) {
    const Shape expected = {s.image.dim(0), o.start_height() * (side / 4), o.start_width() * (side / 4),
                            o.img_channels};
    if (s.image.shape() != expected)
      throw ShapeError(
          fmt::format("discriminator: images {} should be {}", to_string(s.image.shape()), to_string(expected)));
  }
  const bool skips = o.d_architecture == Architecture::skip;
  for (const DiscriminatorBlock& block : std::span(blocks_).subspan(begin, end - begin)) {
    if (skips || !s.x.defined()) {
      const Range range("D.b{}.fromrgb", block.size);
      Tensor y = conv_layer(as_type(s.image, features_type()), block.fromrgb_weight, block.fromrgb_bias, {},
                            activation(o.conv_clamp));
      s.x = s.x.defined() ? s.x + y : std::move(y);
    }
    if (skips) s.image = downsample2d(s.image);
    s.x = run_block(block, std::move(s.x), o.d_architecture == Architecture::resnet, o.conv_clamp);
    tap(fmt::format("b{}", block.size), s.x);
  }
  return s;
}

Tensor StyleGan2Discriminator::finish(State s, const Tensor& labels, int segments) const {
  const StyleGan2Options& o = options_;
  if (labels.defined() != (o.c_dim > 0))
    throw ConfigError(o.c_dim ? "a conditional discriminator needs labels"
                              : "an unconditional discriminator takes no labels");
  Tensor x = as_type(std::exchange(s.x, {}), o.type);
  if (o.d_architecture == Architecture::skip) {
    const Range range("D.b4.fromrgb");
    x = x + conv_layer(as_type(s.image, o.type), fromrgb_weight_, fromrgb_bias_, {}, activation(-1));
  }
  {
    const Range range("D.b4.conv");
    x = minibatch_stddev(x, o.mbstd_group, o.mbstd_channels, segments);
    x = conv_layer(x, conv_weight_, conv_bias_, {.pad = 1}, activation(o.conv_clamp));
    tap("b4", x);
  }
  const Range range("D.b4.fc");
  x = reshape(permute(x, {0, 3, 1, 2}), {x.dim(0), -1});  // files hold fc's weights for channels first
  x = fully_connected(x, fc_weight_, fc_bias_, {.slope = 0.2, .gain = std::numbers::sqrt2});
  x = fully_connected(x, out_weight_, out_bias_);
  if (o.c_dim == 0) return x;
  const Tensor condition = map(mapping_, {}, labels);
  return sum_to(x * condition, {x.dim(0), 1}) * (1 / std::sqrt(static_cast<double>(o.channels(4))));
}

std::vector<Discriminator::Layer> StyleGan2Discriminator::layers() const {
  const StyleGan2Options& o = options_;
  std::vector<Layer> result;
  const auto add = [&](const std::string& block, const std::string& name, int64_t pixels, const Parameter& weight,
                       Reads reads = Reads::previous) {
    const std::string full = block + "." + name;
    Layer layer{.name = full,
                .block = block,
                .parameters = {weight.name()},
                .flops = 2.0 * static_cast<double>(pixels * weight.count()),
                .reads = reads,
                .head = block == "b4"};
    if (name != "skip") layer.parameters.push_back(full + ".bias");
    result.push_back(std::move(layer));
  };
  const int64_t cells = int64_t{o.start_height()} * o.start_width();
  const auto pixels = [&](int size) { return cells * (size / 4) * (size / 4); };
  const bool skips = o.d_architecture == Architecture::skip;
  for (const DiscriminatorBlock& b : blocks_) {
    const std::string block = fmt::format("b{}", b.size);
    if (skips || result.empty()) add(block, "fromrgb", pixels(b.size), b.fromrgb_weight, Reads::images);
    add(block, "conv0", pixels(b.size), b.conv0_weight);
    add(block, "conv1", pixels(b.size / 2), b.conv1_weight);
    if (o.d_architecture == Architecture::resnet) add(block, "skip", pixels(b.size / 2), b.skip_weight, Reads::block);
  }
  if (skips) add("b4", "fromrgb", cells, fromrgb_weight_, Reads::images);
  add("b4", "conv", cells, conv_weight_);
  add("b4", "fc", 1, fc_weight_);
  add("b4", "out", 1, out_weight_);
  return result;
}

std::vector<std::string> StyleGan2Discriminator::tap_names() const {
  std::vector<std::string> names;
  for (const DiscriminatorBlock& block : blocks_) names.push_back(fmt::format("b{}", block.size));
  names.push_back("b4");
  return names;
}

std::vector<std::string> StyleGan2Discriminator::constant_names() const { return filter_names(parameters_); }
const StoredTensor* StyleGan2Discriminator::constant(const std::string& name) const { return filter_constant(name); }

}  // namespace firn
