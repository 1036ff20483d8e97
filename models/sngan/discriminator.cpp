// SNGAN's discriminator. sigma divides what a layer gives: weights are never copied. What average pooling only blurs is
// computed behind it: the 1x1 shortcuts, and of 3x3 windows all but a mean of 2x2. Layers that are frozen for good have
// their sigma computed once.
#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "engine/range.h"
#include "models/sngan/layers.h"

namespace firn {
namespace {

Tensor conv(const Tensor& x, const SpectralWeight& l, const std::vector<Spectral>& sigma, double slope = 1) {
  return spectral_conv2d(x, l.weight(), sigma[l.number], (*l.bias)(),
                         {.pad = static_cast<int>(l.weight.value().dim(1) / 2)}, {.slope = slope});
}

// average_pool(conv(x)) of a 3x3 window
Tensor conv_down(const Tensor& x, const SpectralWeight& l, const std::vector<Spectral>& sigma) {
  return spectral_conv2d(upfirdn2d(x, two_by_two(2)), l.weight(), sigma[l.number], (*l.bias)(), {.stride = 2},
                         {.slope = 1});
}

// `front`: the block that reads images, which no ReLU comes before.
Tensor down_block(const SnganDownBlock& b, const Tensor& x, const std::vector<Spectral>& sigma, bool front) {
  const Range range("D.{}", b.name);
  Tensor h = conv(front ? x : relu(x), b.c1, sigma, 0);
  h = b.down ? conv_down(h, b.c2, sigma) : conv(h, b.c2, sigma);
  if (!b.c_sc) return h + x;
  return h + conv(b.down ? average_pool(x) : x, *b.c_sc, sigma);
}

}  // namespace

SnganDiscriminator::SnganDiscriminator(SnganOptions options, const Device& device)
    : Discriminator(device), options_(options), settled_(std::make_shared<std::vector<Spectral>>()) {
  const SnganOptions& o = options_;
  o.check();
  ParameterMaker make(parameters_, o.seed, o.type, device, o.modulated);
  size_t count = 0;
  const auto layer = [&](const std::string& name, Shape shape, double gain, bool bias = true) {
    const int64_t out = shape[0];
    SpectralWeight l;
    l.weight = glorot(make, name + ".weight", std::move(shape), gain);
    if (bias) l.bias = make.constant(name + ".bias", {out}, 0);
    l.u = make.normal_buffer(name + ".u", {out}).mark_running();
    l.number = count++;
    return l;
  };
  const std::vector<SnganOptions::Block> blocks = o.d_blocks();
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto [in, out, hidden, down] = blocks[i];
    SnganDownBlock b{.name = fmt::format("block{}", i + 1), .down = down};
    b.c1 = layer(b.name + ".c1", {hidden, 3, 3, in}, std::numbers::sqrt2);
    b.c2 = layer(b.name + ".c2", {out, 3, 3, hidden}, std::numbers::sqrt2);
    if (in != out || down) b.c_sc = layer(b.name + ".c_sc", {out, 1, 1, in}, 1);
    blocks_.push_back(std::move(b));
  }
  const int top = blocks.back().out;
  linear_ = layer(fmt::format("l{}", blocks.size() + 1), {1, top}, 1);
  if (o.c_dim) embedding_ = layer("l_y", {o.c_dim, top}, 1, false);
}

std::vector<SpectralWeight> SnganDiscriminator::spectral_layers(size_t begin, size_t end) const {
  std::vector<SpectralWeight> layers;
  for (size_t i = begin; i < std::min(end, blocks_.size()); ++i) {
    const SnganDownBlock& b = blocks_[i];
    layers.insert(layers.end(), {b.c1, b.c2});
    if (b.c_sc) layers.push_back(*b.c_sc);
  }
  if (end <= blocks_.size()) return layers;
  layers.push_back(linear_);
  if (options_.c_dim) layers.push_back(embedding_);
  return layers;
}

// sigma of the layers of blocks [begin, end), by number. As published, what the head keeps of its iterations moves in
// every call, what blocks keep only while training.
std::vector<Spectral> SnganDiscriminator::normalise(size_t begin, size_t end, Mode mode) const {
  std::vector<Spectral> all(linear_.number + (options_.c_dim ? 2 : 1));
  std::vector<SpectralLayer> layers;
  std::vector<size_t> numbers;
  for (const SpectralWeight& l : spectral_layers(begin, end))
    if (l.number < settled_->size() && (*settled_)[l.number].sigma.defined()) {
      all[l.number] = (*settled_)[l.number];
    } else {
      layers.push_back({l.weight().detach(), l.u(), mode == Mode::train || l.number >= linear_.number});
      numbers.push_back(l.number);
    }
  const std::vector<Spectral> found = power_iteration(layers);
  for (size_t i = 0; i < found.size(); ++i) all[numbers[i]] = found[i];
  return all;
}

// Other programs iterate further at each step; here it is the end of that, also from vectors that are random.
void SnganDiscriminator::settle() {
  constexpr int iterations = 100;
  const NoGrad no_grad;
  settled_->assign(linear_.number + (options_.c_dim ? 2 : 1), {});
  std::vector<SpectralLayer> layers;
  std::vector<size_t> numbers;
  for (const SpectralWeight& l : spectral_layers(0, blocks_.size() + 1))
    if (l.weight.frozen() && !l.weight.modulated()) {
      layers.push_back({l.weight(), l.u(), false});
      numbers.push_back(l.number);
    }
  const std::vector<Spectral> found = power_iteration(layers, iterations);
  for (size_t i = 0; i < found.size(); ++i) (*settled_)[numbers[i]] = found[i];
}

int SnganDiscriminator::frozen_blocks() const {
  const auto trains = [&](const SnganDownBlock& b) { return !parameters_(b.name + ".*").trainable().empty(); };
  return static_cast<int>(std::ranges::find_if(blocks_, trains) - blocks_.begin());
}

Shape SnganDiscriminator::features_shape(int64_t n) const {
  const int cut = frozen_blocks();
  if (cut == 0)
    throw ConfigError("no block of D in front is frozen as a whole, so its features change; --freeze-d 1 freezes one");
  int64_t size = options_.height;
  for (int i = 0; i < cut; ++i) size /= blocks_[size_t(i)].down ? 2 : 1;
  return {n, size, size, blocks_[size_t(cut) - 1].c2.weight.value().dim(0)};
}

DType SnganDiscriminator::features_type() const {
  return options_.activation_type == DType::bf16 ? DType::bf16 : options_.type;
}

Tensor SnganDiscriminator::run_blocks(Tensor x, size_t begin, size_t end, const std::vector<Spectral>& sigma) const {
  for (size_t i = begin; i < end; ++i) {
    x = down_block(blocks_[i], std::exchange(x, {}), sigma, i == 0);
    tap(blocks_[i].name, x);
  }
  return x;
}

Tensor SnganDiscriminator::head(const Tensor& x, const Tensor& labels, const std::vector<Spectral>& sigma) const {
  if (labels.defined() != (options_.c_dim > 0))
    throw ConfigError(options_.c_dim ? "a conditional discriminator needs labels"
                                     : "an unconditional discriminator takes no labels");
  const Range range("D.head");
  Projection p{.w = linear_.weight(),
               .b = (*linear_.bias)(),
               .w_sigma = spectral_sigma(linear_.weight(), sigma[linear_.number])};
  if (options_.c_dim) {
    p.embed = embedding_.weight();
    p.labels = labels;
    p.embed_sigma = spectral_sigma(embedding_.weight(), sigma[embedding_.number]);
  }
  return projection(x, p);
}

Tensor SnganDiscriminator::operator()(const Tensor& images, const Tensor& labels, int, Mode mode) const {
  const SnganOptions& o = options_;
  const Shape expected = {images.dim(0), o.height, o.height, o.img_channels};
  if (images.shape() != expected)
    throw ShapeError(
        fmt::format("discriminator: images {} should be {}", to_string(images.shape()), to_string(expected)));
  const std::vector<Spectral> sigma = normalise(0, blocks_.size() + 1, mode);
  return head(run_blocks(as_type(images, features_type()), 0, blocks_.size(), sigma), labels, sigma);
}

Tensor SnganDiscriminator::features(const Tensor& images) const {
  features_shape(images.dim(0));
  const size_t cut = static_cast<size_t>(frozen_blocks());
  return run_blocks(as_type(images, features_type()), 0, cut, normalise(0, cut, Mode::eval));
}

Tensor SnganDiscriminator::logits(const Tensor& features, const Tensor& labels, int, Mode mode) const {
  if (const Shape expected = features_shape(features.dim(0)); features.shape() != expected)
    throw ShapeError(
        fmt::format("discriminator: features {} should be {}", to_string(features.shape()), to_string(expected)));
  const size_t cut = static_cast<size_t>(frozen_blocks());
  const std::vector<Spectral> sigma = normalise(cut, blocks_.size() + 1, mode);
  return head(run_blocks(features, cut, blocks_.size(), sigma), labels, sigma);
}

std::vector<std::string> SnganDiscriminator::tap_names() const {
  std::vector<std::string> names;
  for (const SnganDownBlock& block : blocks_) names.push_back(block.name);
  return names;
}

std::vector<Discriminator::Layer> SnganDiscriminator::layers() const {
  std::vector<Layer> result;
  const auto add = [&](const std::string& block, const SpectralWeight& l, int64_t pixels, Reads reads, bool is_head) {
    const std::string name = l.weight.name().substr(0, l.weight.name().rfind('.'));
    Layer layer{.name = name,
                .block = block,
                .parameters = {l.weight.name()},
                .flops = 2.0 * double(pixels * (&l == &embedding_ ? l.weight().dim(1) : l.weight.count())),
                .reads = reads,
                .head = is_head};
    if (l.bias) layer.parameters.push_back(l.bias->name());
    result.push_back(std::move(layer));
  };
  int64_t size = options_.height;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const SnganDownBlock& b = blocks_[i];
    const int64_t small = size / (b.down ? 2 : 1);
    add(b.name, b.c1, size * size, i == 0 ? Reads::images : Reads::previous, false);
    add(b.name, b.c2, small * small, Reads::previous, false);
    if (b.c_sc) add(b.name, *b.c_sc, small * small, i == 0 ? Reads::images : Reads::block, false);
    size = small;
  }
  add("head", linear_, 1, Reads::previous, true);
  if (options_.c_dim) add("head", embedding_, 1, Reads::previous, true);
  return result;
}

}  // namespace firn
