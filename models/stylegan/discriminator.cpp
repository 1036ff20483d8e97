// StyleGAN's discriminator. What average pooling only blurs is computed behind it: of 3x3 windows all but a mean of
// 2x2. A convolution that files have in one piece computes the same.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/range.h"
#include "models/stylegan/layers.h"

namespace firn {
namespace {

constexpr double kSlope = 0.2;

Tensor down_block(const StyleGanDownBlock& b, Tensor x) {
  const Range range("D.b{}", b.size);
  x = blur(conv_layer(x, b.conv1, 1, kSlope));
  return conv2d_down(std::move(x), b.conv2.weight(), b.conv2.bias(), two_by_two(2),
                     {.stride = 2, .gain = equalised(b.conv2.weight)}, {.slope = kSlope});
}

}  // namespace

StyleGanDiscriminator::StyleGanDiscriminator(StyleGanOptions options, const Device& device)
    : Discriminator(device), options_(options) {
  const StyleGanOptions& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  for (int size = o.height; size >= 4; size /= 2) {
    const int number = 10 - log2_of(size), in = o.channels(size), out = o.channels(std::max(size / 2, 4));
    StyleGanDownBlock b{.size = size, .name = fmt::format("progression.{}", number)};
    if (size == 4) {
      b.conv1 = make_layer(make, b.name + ".conv1.0.conv", {out, 3, 3, in + 1});
      b.conv2 = make_layer(make, b.name + ".conv2.0.conv", {out, 4, 4, out});
    } else {
      b.conv1 = make_layer(make, b.name + ".conv1.0.conv", {out, 3, 3, in});
      add_blur(blurs_, b.name + ".conv2.0", out);
      b.conv2 = size < o.fused_from ? make_layer(make, b.name + ".conv2.1.conv", {out, 3, 3, out})
                                    : make_fused(make, b.name + ".conv2.1", {out, 3, 3, out});
    }
    blocks_.push_back(std::move(b));
  }
  for (const StyleGanDownBlock& b : blocks_)
    if (o.growing ? b.size > 4 : b.size == o.height)
      from_rgb_.push_back(make_layer(make, fmt::format("from_rgb.{}.0.conv", 10 - log2_of(b.size)),
                                     {o.channels(b.size), 1, 1, o.img_channels}));
  linear_ = make_layer(make, "linear.linear", {1, o.channels(4)});
  if (o.growing) growth_ = make.constant("growth", {}, double(blocks_.size() - 1), ParameterKind::own_buffer);
}

int StyleGanDiscriminator::frozen_blocks() const {
  if (!parameters_(from_rgb_[0].weight.name(), from_rgb_[0].bias.name()).trainable().empty()) return 0;
  const auto trains = [&](const StyleGanDownBlock& b) { return !parameters_(b.name + ".*").trainable().empty(); };
  return static_cast<int>(std::ranges::find_if(blocks_.begin(), blocks_.end() - 1, trains) - blocks_.begin());
}

Shape StyleGanDiscriminator::features_shape(int64_t n) const {
  const int cut = frozen_blocks(), size = options_.height >> cut;
  if (cut == 0)
    throw ConfigError("no block of D in front is frozen as a whole, so its features change; --freeze-d 1 freezes one");
  if (options_.growing) throw ConfigError("a growing D reads the images behind its frozen blocks too");
  return {n, size, size, options_.channels(size)};
}

DType StyleGanDiscriminator::features_type() const {
  return options_.activation_type == DType::bf16 ? DType::bf16 : options_.type;
}

Tensor StyleGanDiscriminator::run_blocks(Tensor x, size_t begin, size_t end) const {
  const StyleGanOptions& o = options_;
  Tensor image;  // what later blocks read
  if (begin == 0) {
    const Shape expected = {x.dim(0), o.height, o.height, o.img_channels};
    if (x.shape() != expected)
      throw ShapeError(fmt::format("discriminator: images {} should be {}", to_string(x.shape()), to_string(expected)));
    const Range range("D.from_rgb");
    image = as_type(x, features_type());
    x = conv_layer(image, from_rgb_[0], 0, kSlope);
  }
  for (size_t i = begin; i < end; ++i) {
    if (o.growing && i > 0) {
      image = average_pool(image);
      const Tensor above = as_type(reach(growth_, log2_of(blocks_[i].size) - 2), x.type());
      x = x * above + conv_layer(image, from_rgb_[i], 0, kSlope) * affine(above, -1, 1);
    }
    x = down_block(blocks_[i], std::exchange(x, {}));
    tap(blocks_[i].name, x);
  }
  return x;
}

Tensor StyleGanDiscriminator::head(const Tensor& x, int segments) const {
  const Range range("D.b4");
  Tensor y = minibatch_stddev(as_type(x, options_.type), static_cast<int>(x.dim(0)) / segments, 1, segments);
  y = conv_layer(conv_layer(y, last().conv1, 1, kSlope), last().conv2, 0, kSlope);
  tap(last().name, y);
  return linear_layer(reshape(y, {y.dim(0), -1}), linear_);
}

Tensor StyleGanDiscriminator::operator()(const Tensor& images, const Tensor& labels, int segments, Mode) const {
  if (labels.defined()) throw ConfigError("an unconditional discriminator takes no labels");
  return head(run_blocks(images, 0, blocks_.size() - 1), segments);
}

Tensor StyleGanDiscriminator::features(const Tensor& images) const {
  features_shape(images.dim(0));
  return run_blocks(images, 0, static_cast<size_t>(frozen_blocks()));
}

Tensor StyleGanDiscriminator::logits(const Tensor& features, const Tensor&, int segments, Mode) const {
  if (const Shape expected = features_shape(features.dim(0)); features.shape() != expected)
    throw ShapeError(
        fmt::format("discriminator: features {} should be {}", to_string(features.shape()), to_string(expected)));
  return head(run_blocks(features, static_cast<size_t>(frozen_blocks()), blocks_.size() - 1), segments);
}

std::vector<Discriminator::Layer> StyleGanDiscriminator::layers() const {
  std::vector<Layer> result;
  const auto add = [&](const std::string& block, const std::string& name, const EqualisedLayer& layer, int64_t pixels,
                       bool is_head, Reads reads = Reads::previous) {
    result.push_back({.name = name,
                      .block = block,
                      .parameters = {layer.weight.name(), layer.bias.name()},
                      .flops = 2.0 * static_cast<double>(pixels * layer.weight.count()),
                      .reads = reads,
                      .head = is_head});
  };
  const auto area = [](int size) { return int64_t{size} * size; };
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const StyleGanDownBlock& b = blocks_[i];
    const bool is_head = b.size == 4;
    if (i < from_rgb_.size())
      add(b.name, fmt::format("from_rgb.{}", 10 - log2_of(b.size)), from_rgb_[i], area(b.size), false, Reads::images);
    add(b.name, b.name + ".conv1", b.conv1, area(b.size), is_head);
    add(b.name, b.name + ".conv2", b.conv2, is_head ? 1 : area(b.size / 2), is_head);
  }
  add("linear", "linear", linear_, 1, true);
  return result;
}

std::vector<std::string> StyleGanDiscriminator::tap_names() const {
  std::vector<std::string> names;
  for (const StyleGanDownBlock& b : blocks_) names.push_back(b.name);
  return names;
}

std::vector<std::string> StyleGanDiscriminator::constant_names() const { return names_of(blurs_); }
const StoredTensor* StyleGanDiscriminator::constant(const std::string& name) const { return find(blurs_, name); }

}  // namespace firn
