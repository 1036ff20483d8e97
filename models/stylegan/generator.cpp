// StyleGAN's generator. What nearest-neighbour upsampling only repeats is computed before it. Of instance normalisation
// there is no kernel: it is batch normalisation of one image whose channels are those of all, which two permutations
// more are the price of.
#include <cmath>

#include "base/error.h"
#include "engine/range.h"
#include "models/stylegan/layers.h"

namespace firn {
namespace {

void add_style(AdaptiveConv& conv, ParameterMaker& make, const std::string& block, char number, int channels,
               int w_dim) {
  conv.noise_weight = make.constant(fmt::format("{}.noise{}.weight_orig", block, number), {1, 1, 1, channels}, 0);
  conv.style = make_layer(make, fmt::format("{}.adain{}.style.linear", block, number), {2 * channels, w_dim});
  if (ShapesOnly::active()) return;
  Tensor& shift_is_0 = conv.style.bias.value();
  shift_is_0.copy_from(concat({Tensor::full({channels}, 1, shift_is_0.type(), shift_is_0.device()),
                               Tensor::zeros({channels}, shift_is_0.type(), shift_is_0.device())},
                              0));
}

// scale (x - mean) / sqrt(variance + eps) + shift over the pixels of each image and channel; s [N,2C] is scale and
// shift.
Tensor instance_norm(const Tensor& x, const Tensor& s) {
  const int64_t n = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  const auto of = [&](int64_t begin) { return reshape(slice(s, 1, begin, begin + c), {n * c}); };
  const Tensor rows = reshape(permute(x, {1, 2, 0, 3}), {h * w, n * c});
  return permute(reshape(batch_norm(rows, of(0), of(c), {.eps = 1e-5}), {h, w, n, c}), {2, 0, 1, 3});
}

// What follows a convolution. noise [N,H,W,1] or undefined.
Tensor styled(const AdaptiveConv& layer, Tensor x, const Tensor& noise, const Tensor& w) {
  if (noise.defined()) {
    const int64_t c = x.dim(3);
    x = conv2d_add(noise, reshape(layer.noise_weight(), {c, 1, 1, 1}), {.gain = std::sqrt(2.0 / double(c))}, x);
  }
  return instance_norm(bias_act(x, {}, {.slope = 0.2}), linear_layer(w, layer.style));
}

// conv(upsample_nearest(x)), or that of a convolution in one piece, which is stored the other way round
Tensor up_conv(const Tensor& x, const EqualisedLayer& l, bool fused) {
  const Tensor w = fused ? permute(l.weight(), {3, 1, 2, 0}) : flip(l.weight(), {1, 2});
  const Conv2d conv{.stride = 2, .transposed = true, .gain = equalised(l.weight, fused ? 3 : 0)};
  return styled_conv2d_up(x, {}, w, l.bias(), conv, two_by_two(1, fused ? 1 : 4), linear());
}

// Images are not rounded to bf16.
Tensor to_rgb(const Tensor& x, const EqualisedLayer& l) {
  const Range range("G.to_rgb");
  const int64_t in = x.dim(3), out = l.weight.value().dim(0);
  const Tensor rgb = matmul(reshape(x, {-1, in}), as_type(reshape(l.weight(), {out, in}), x.type()),
                            {.trans_b = true, .alpha = equalised(l.weight), .wide_output = true});
  return reshape(bias_act(rgb, l.bias(), linear()), {x.dim(0), x.dim(1), x.dim(2), out});
}

}  // namespace

StyleGanGenerator::StyleGanGenerator(StyleGanOptions options, const Device& device)
    : StyleGenerator(device), options_(options) {
  const StyleGanOptions& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  for (int i = 0; i < o.mapping_layers; ++i)
    mapping_.push_back(make_layer(make, fmt::format("style.{}.linear", 2 * i + 1), {o.z_dim, o.z_dim}));
  for (const int size : o.sizes()) {
    const int out = o.channels(size), in = size > 4 ? o.channels(size / 2) : out;
    StyleGanBlock b{.size = size, .name = fmt::format("generator.progression.{}", blocks_.size())};
    if (size == 4) {
      b.constant = make.normal(b.name + ".conv1.input", {1, 4, 4, out});
    } else if (size < o.fused_from) {
      b.conv1.conv = make_layer(make, b.name + ".conv1.1.conv", {out, 3, 3, in});
      add_blur(blurs_, b.name + ".conv1.2", out);
    } else {
      b.conv1.conv = make_fused(make, b.name + ".conv1.0", {in, 3, 3, out}, 3);
      add_blur(blurs_, b.name + ".conv1.1", out);
    }
    add_style(b.conv1, make, b.name, '1', out, o.z_dim);
    b.conv2.conv = make_layer(make, b.name + ".conv2.conv", {out, 3, 3, out});
    add_style(b.conv2, make, b.name, '2', out, o.z_dim);
    if (o.growing ? size > 4 : size == o.height)
      to_rgb_.push_back(
          make_layer(make, fmt::format("generator.to_rgb.{}.conv", blocks_.size()), {o.img_channels, 1, 1, out}));
    blocks_.push_back(std::move(b));
  }
  // Of our own, and so behind all that files of others have.
  for (StyleGanBlock& b : blocks_)
    b.noise_const = make.normal_buffer(b.name + ".noise_const", {b.size, b.size}, ParameterKind::own_buffer);
  w_avg_ = make.constant("w_avg", {o.z_dim}, 0, ParameterKind::own_buffer).mark_running();
  if (o.growing) growth_ = make.constant("growth", {}, double(blocks_.size() - 1), ParameterKind::own_buffer);
}

Tensor StyleGanGenerator::map(const Tensor& z, const Tensor& labels) const {
  if (labels.defined()) throw ConfigError("an unconditional generator takes no labels");
  const Range range("G.mapping");
  Tensor x = normalize_2nd_moment(latents(z));
  for (const EqualisedLayer& layer : mapping_) x = linear_layer(x, layer, 0.2);
  return x;
}

std::vector<Tensor> StyleGanGenerator::noise_maps() const {
  std::vector<Tensor> maps;
  for (const StyleGanBlock& b : blocks_) maps.push_back(b.noise_const.value().view({1, b.size, b.size}));
  return maps;
}

std::vector<Parameters> StyleGanGenerator::affines() const {
  std::vector<Parameters> all(blocks_.size());
  for (size_t i = 0; i < blocks_.size(); ++i) {
    all[i].add(blocks_[i].conv1.style.weight);
    all[i].add(blocks_[i].conv2.style.weight);
  }
  return all;
}

Tensor StyleGanGenerator::synthesize(const Tensor& ws, const Noise& noise) const {
  require(ws, noise);
  const StyleGanOptions& o = options_;
  const int64_t n = ws.dim(0);
  Tensor x, image;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const StyleGanBlock& b = blocks_[i];
    const Range range("G.b{}", b.size);
    const Tensor w = reshape(slice(ws, 1, int64_t(i), int64_t(i) + 1), {n, o.z_dim});
    if (i == 0) {
      x = expand(b.constant(), {n, 4, 4, b.constant.value().dim(3)}, o.type);
    } else {
      if (o.activation_type == DType::bf16) x = as_type(x, DType::bf16);
      x = blur(up_conv(x, b.conv1.conv, b.size >= o.fused_from));
    }
    Tensor map;  // both layers of a block have the same
    const Shape each = {n, b.size, b.size, 1};
    if (noise.mode == NoiseMode::random) map = as_type(randn(each, *noise.rng, o.type, device_), x.type());
    if (noise.mode == NoiseMode::constant || noise.mode == NoiseMode::given) {
      const Tensor own = noise.mode == NoiseMode::given ? noise.maps[i] : b.noise_const();
      map = expand(reshape(own, {-1, b.size, b.size, 1}), each, x.type());
    }
    x = styled(b.conv1, x, map, w);
    x = styled(b.conv2, conv_layer(x, b.conv2.conv, 1), map, w);
    tap(b.name.substr(b.name.find('.') + 1), x);
    if (const size_t first = blocks_.size() - to_rgb_.size(); i >= first) {
      Tensor rgb = to_rgb(x, to_rgb_[i - first]);
      if (o.growing) rgb = rgb * (reach(growth_, int64_t(i) - 1) - reach(growth_, int64_t(i)));
      image = image.defined() ? upsample_nearest(image) + rgb : rgb;
    }
  }
  return image;
}

Generator::Parts StyleGanGenerator::parts() const {
  Parts parts{.mapping = {"style.*"}, .blocks = {}, .styles = {"*.adain?.*"}, .outputs = {}};
  for (const StyleGanBlock& b : blocks_) {
    parts.blocks.push_back({b.name + ".*"});
    if (const size_t i = parts.blocks.size() - 1; i >= blocks_.size() - to_rgb_.size())
      parts.blocks.back().push_back(fmt::format("generator.to_rgb.{}.*", i));
  }
  return parts;
}

std::vector<std::string> StyleGanGenerator::tap_names() const {
  std::vector<std::string> names;
  for (const StyleGanBlock& b : blocks_) names.push_back(b.name.substr(b.name.find('.') + 1));
  return names;
}

std::vector<std::string> StyleGanGenerator::constant_names() const { return names_of(blurs_); }
const StoredTensor* StyleGanGenerator::constant(const std::string& name) const { return find(blurs_, name); }

}  // namespace firn
