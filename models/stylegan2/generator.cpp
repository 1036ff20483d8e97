// StyleGAN2's generator. A modulated convolution scales its input by the styles and its output by the demodulation, so
// that the whole batch shares one convolution whose weights stay f32.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "engine/range.h"
#include "models/stylegan2/layers.h"

namespace firn {
namespace {

StyledConv make_styled(ParameterMaker& make, const std::string& name, int out, int in, int kernel, int w_dim) {
  StyledConv layer;
  layer.weight = make.normal(name + ".weight", {out, kernel, kernel, in});
  layer.bias = make.constant(name + ".bias", {out}, 0);
  layer.affine_weight = make.normal(name + ".affine.weight", {in, w_dim});
  layer.affine_bias = make.constant(name + ".affine.bias", {in}, 1);
  return layer;
}

StyledConv make_conv(ParameterMaker& make, const std::string& name, int out, int in, const StyleGan2Options& o,
                     Shape noise, bool up) {
  StyledConv layer = make_styled(make, name, out, in, 3, o.w_dim);
  if (o.output_scale) layer.scale = make.constant(name + ".output_scale", {out}, 1, ParameterKind::addition);
  layer.noise_strength = make.constant(name + ".noise_strength", {}, 0);
  layer.noise_const = make.normal_buffer(name + ".noise_const", std::move(noise));
  layer.up = up;
  return layer;
}

// The layers of one call, with what they all need.
struct Synthesis {
  const StyleGan2Options& options;
  const Noise& noise;
  size_t next_map = 0;

  Tensor conv(const StyledConv& layer, const Tensor& x, const Tensor& s, double gain) {
    const int64_t n = x.dim(0), h = x.dim(1) * (layer.up ? 2 : 1), width = x.dim(2) * (layer.up ? 2 : 1);
    BiasAct p = lrelu(std::numbers::sqrt2 * gain, options.conv_clamp < 0 ? -1 : options.conv_clamp * gain);
    const Tensor w = layer.weight();
    p.d = demodulation(w, s);
    if (layer.scale) p.d = p.d * (*layer.scale)();
    if (noise.mode != NoiseMode::none) {
      p.noise = noise.mode == NoiseMode::given    ? noise.maps[next_map++]
                : noise.mode == NoiseMode::random ? randn({n, h, width}, *noise.rng, s.type(), s.device())
                                                  : layer.noise_const().view({1, h, width});
      p.strength = layer.noise_strength();
    }
    if (!layer.up) return styled_conv2d(x, s, w, layer.bias(), {.pad = 1}, p);
    const Fir blur{.pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1, .gain = 4};
    return styled_conv2d_up(x, s, w, layer.bias(), {.stride = 2, .transposed = true}, blur, p);
  }

  // Without demodulation there is no fused form to keep apart: the styles go into one small matrix a sample.
  Tensor to_rgb(const StyledConv& layer, const Tensor& x, const Tensor& s) const {
    const int64_t n = x.dim(0), h = x.dim(1), width = x.dim(2), in = x.dim(3), out = layer.weight.value().dim(0);
    const Tensor weights = reshape(layer.weight(), {1, out, in}) * reshape(s, {n, 1, in});
    const Tensor rgb =
        matmul(reshape(x, {n, h * width, in}), as_type(weights, x.type()), {.trans_b = true, .wide_output = true});
    return bias_act(reshape(rgb, {n, h, width, out}), layer.bias(), linear(1, options.conv_clamp));
  }
};

struct Styles {
  Tensor conv0, conv1, torgb;
};

std::vector<Styles> styles_of(const std::vector<SynthesisBlock>& blocks, const Tensor& ws) {
  const Range range("G.styles");
  std::vector<Styles> all;
  for (int next = 0; const SynthesisBlock& block : blocks) {
    const auto style = [&](const StyledConv& layer, int i, double gain = 1) {
      const Tensor w = reshape(slice(ws, 1, i, i + 1), {ws.dim(0), ws.dim(2)});
      return fully_connected(w, layer.affine_weight, layer.affine_bias, {.gain = gain});
    };
    Styles s;
    if (block.conv0) s.conv0 = style(*block.conv0, next++);
    s.conv1 = style(block.conv1, next++);
    // toRGB reads the w that the following block's first convolution takes.
    if (block.torgb) s.torgb = style(*block.torgb, next, 1 / std::sqrt(double(block.torgb->weight.value().dim(3))));
    all.push_back(std::move(s));
  }
  return all;
}

}  // namespace

StyleGan2Generator::StyleGan2Generator(StyleGan2Options options, const Device& device)
    : StyleGenerator(device), options_(options) {
  const StyleGan2Options& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  mapping_ = make_mapping(make, {.z_dim = o.z_dim, .c_dim = o.c_dim, .width = o.w_dim, .layers = o.mapping_layers});
  w_avg_ = make.buffer("mapping.w_avg", {o.w_dim}, 0).mark_running();
  const int last = o.blocks().back();
  for (int size : o.blocks()) {
    const std::string name = fmt::format("synthesis.b{}.", size);
    const int out = o.channels(size), in = size > 4 ? o.channels(size / 2) : out;
    const Shape grid = {o.start_height() * (size / 4), o.start_width() * (size / 4)};
    SynthesisBlock block;
    block.size = size;
    if (size == 4)
      block.constant = make.normal(name + "const", {out, grid[0], grid[1]});
    else
      block.conv0 = make_conv(make, name + "conv0", out, in, o, grid, true);
    block.conv1 = make_conv(make, name + "conv1", out, out, o, grid, false);
    if (o.g_architecture == Architecture::skip || size == last)
      block.torgb = make_styled(make, name + "torgb", o.img_channels, out, 1, o.w_dim);
    if (o.g_architecture == Architecture::resnet && size > 4)
      block.skip_weight = make.normal(name + "skip.weight", {out, 1, 1, in});
    blocks_.push_back(std::move(block));
  }
}

Tensor StyleGan2Generator::map(const Tensor& z, const Tensor& labels) const {
  if (labels.defined() != (options_.c_dim > 0))
    throw ConfigError(options_.c_dim ? "a conditional generator needs labels"
                                     : "an unconditional generator takes no labels");
  const Range range("G.mapping");
  return firn::map(mapping_, latents(z), labels);
}

std::vector<Tensor> StyleGan2Generator::noise_maps() const {
  std::vector<Tensor> maps;
  const auto add = [&](const StyledConv& layer) {
    const Tensor& noise = layer.noise_const.value();
    maps.push_back(noise.view({1, noise.dim(0), noise.dim(1)}));
  };
  for (const SynthesisBlock& block : blocks_) {
    if (block.conv0) add(*block.conv0);
    add(block.conv1);
  }
  return maps;
}

std::vector<Parameters> StyleGan2Generator::affines() const {
  std::vector<Parameters> all(size_t(options_.num_ws()));
  for (size_t next = 0; const SynthesisBlock& block : blocks_) {
    if (block.conv0) all[next++].add(block.conv0->affine_weight);
    all[next++].add(block.conv1.affine_weight);
    if (block.torgb) all[next].add(block.torgb->affine_weight);
  }
  return all;
}

Tensor StyleGan2Generator::synthesize(const Tensor& ws, const Noise& noise) const {
  const int64_t n = ws.dim(0);
  require(ws, noise);
  Synthesis layers{options_, noise};
  // All styles come first: backward then comes to them last, when the layers that follow have found their gradients.
  const std::vector<Styles> styles = styles_of(blocks_, ws);
  Tensor x, image;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const SynthesisBlock& block = blocks_[i];
    Tensor skip;
    double gain = 1;
    if (block.size == 4) {
      const Tensor c = permute(block.constant(), {1, 2, 0});
      x = expand(reshape(c, {1, c.dim(0), c.dim(1), c.dim(2)}), {n, c.dim(0), c.dim(1), c.dim(2)}, c.type());
    } else {
      if (options_.activation_type == DType::bf16) x = as_type(x, DType::bf16);
      if (options_.g_architecture == Architecture::resnet) {
        const Range range("G.b{}.skip", block.size);
        gain = std::sqrt(0.5);
        const double fan_in = static_cast<double>(block.skip_weight.value().dim(3));
        skip = upsample2d(conv2d(x, block.skip_weight(), {.gain = gain / std::sqrt(fan_in)}));
      }
      const Range range("G.b{}.conv0", block.size);
      x = layers.conv(*block.conv0, x, styles[i].conv0, 1);
    }
    {
      const Range range("G.b{}.conv1", block.size);
      x = layers.conv(block.conv1, x, styles[i].conv1, gain);
      if (skip.defined()) x = x + skip;
    }
    tap(fmt::format("b{}", block.size), x);
    const Range range("G.b{}.torgb", block.size);
    if (image.defined()) image = upsample2d(image);
    if (block.torgb) {
      const Tensor rgb = layers.to_rgb(*block.torgb, x, styles[i].torgb);
      image = image.defined() ? image + rgb : rgb;
    }
  }
  return image;
}

Generator::Parts StyleGan2Generator::parts() const {
  Parts parts{.mapping = {"mapping.*"}, .blocks = {}, .styles = {"synthesis.*.affine.*"}, .outputs = {}};
  if (options_.output_scale) parts.outputs = {"synthesis.*.output_scale", "synthesis.*.conv?.bias"};
  for (const SynthesisBlock& block : blocks_) parts.blocks.push_back({fmt::format("synthesis.b{}.*", block.size)});
  return parts;
}

std::vector<std::string> StyleGan2Generator::tap_names() const {
  std::vector<std::string> names;
  for (const SynthesisBlock& block : blocks_) names.push_back(fmt::format("b{}", block.size));
  return names;
}

std::vector<std::string> StyleGan2Generator::constant_names() const { return filter_names(parameters_); }
const StoredTensor* StyleGan2Generator::constant(const std::string& name) const { return filter_constant(name); }

}  // namespace firn
