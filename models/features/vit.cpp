// Vision transformers (Dosovitskiy et al. 2020, arXiv 2010.11929): CLIP's (Radford et al. 2021, arXiv 2103.00020), as
// OpenAI names it, DINO's (Caron et al. 2021, arXiv 2104.14294) and DINOv2's (Oquab et al. 2023, arXiv 2304.07193).
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kSize = 224;
constexpr int64_t kHead = 64;  // channels

// What tells the families apart: names in files (of a block, behind its own), and a few choices.
struct Family {
  const char *patches, *first, *places, *block, *norm1, *qkv, *attended, *norm2, *up, *down, *norm;
  char joint;                         // between the name of qkv and "weight"
  const char *norm_before, *project;  // of the tokens that enter, and of what comes out; null: none
  double eps;
  Tensor (*act)(const Tensor&);
  Normalisation normalisation;
  int levels[2];      // behind so many blocks
  bool norms_levels;  // as it does the last
};

constexpr Family kClip{.patches = "conv1",
                       .first = "class_embedding",
                       .places = "positional_embedding",
                       .block = "transformer.resblocks",
                       .norm1 = "ln_1",
                       .qkv = "attn.in_proj",
                       .attended = "attn.out_proj",
                       .norm2 = "ln_2",
                       .up = "mlp.c_fc",
                       .down = "mlp.c_proj",
                       .norm = "ln_post",
                       .joint = '_',
                       .norm_before = "ln_pre",
                       .project = "proj",
                       .eps = 1e-5,
                       .act = quick_gelu,
                       .normalisation = {{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}},
                       .levels = {4, 8},
                       .norms_levels = false};

constexpr Family kDino{.patches = "patch_embed.proj",
                       .first = "cls_token",
                       .places = "pos_embed",
                       .block = "blocks",
                       .norm1 = "norm1",
                       .qkv = "attn.qkv",
                       .attended = "attn.proj",
                       .norm2 = "norm2",
                       .up = "mlp.fc1",
                       .down = "mlp.fc2",
                       .norm = "norm",
                       .joint = '.',
                       .norm_before = nullptr,
                       .project = nullptr,
                       .eps = 1e-6,
                       .act = gelu,
                       .normalisation = kImageNet,
                       .levels = {5, 9},
                       .norms_levels = true};

// CLIP's, in a file that has its other tower, too.
std::string prefix_of(const SafetensorsFile& file, const Family& f) {
  return firn::prefix_of(file, std::string(f.patches) + ".weight", {"visual."});
}

struct Block {
  LayerNorm norm1, norm2;
  FeatureLayer qkv, attended, up, down;

  Tensor operator()(const Tensor& x, Tensor (*act)(const Tensor&)) const {
    const int64_t C = x.dim(2);
    const Tensor h = each_token(qkv, norm1(x));
    const auto part = [&](int64_t i) { return slice(h, 2, i * C, (i + 1) * C); };
    const Tensor y = x + each_token(attended, attention(part(0), part(1), part(2), C / kHead));
    return y + each_token(down, act(each_token(up, norm2(y))));
  }
};

class Vit final : public FeatureNetwork {
 public:
  Vit(const SafetensorsFile& file, const Family& family, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device), family_(family) {
    const LayerReader read(parameters_, file, options, device);
    const std::string prefix = prefix_of(file, family);
    const auto shape = shape_in(file, prefix + family.patches + ".weight");
    patch_ = shape.size() == 4 ? shape[3] : 1;
    struct Naming {
      char joint = '.';
      std::string gain = {};
    };
    const auto layer = [&](const std::string& name, int64_t in, int64_t out, const Naming& n = {}) {
      return read({.name = name,
                   .joint = n.joint,
                   .gain = read.has(n.gain) ? n.gain : "",
                   .in = in,
                   .out = out,
                   .act = linear()});
    };
    patches_ = read({.name = prefix + family.patches, .in = 3, .window = int(patch_), .pad = 0, .act = linear()});
    const int64_t C = patches_.out();
    patches_.w = patches_.w.view({C, 1, 1, patch_ * patch_ * 3});  // of patches that are laid out as one pixel each
    for (std::string at;
         read.has((at = fmt::format("{}{}.{}.", prefix, family.block, blocks_.size())) + family.norm1 + ".weight");) {
      Block b{.norm1 = read.norm(at + family.norm1, C, family.eps),
              .norm2 = read.norm(at + family.norm2, C, family.eps),
              .qkv = layer(at + family.qkv, C, 3 * C, {.joint = family.joint}),
              .attended = layer(at + family.attended, C, C, {.gain = at + "ls1.gamma"}),
              .up = layer(at + family.up, C, 0),
              .down = {}};
      b.down = layer(at + family.down, b.up.out(), C, {.gain = at + "ls2.gamma"});
      blocks_.push_back(std::move(b));
    }
    if (kSize % patch_ || C % kHead || std::ssize(blocks_) <= family.levels[1])
      throw IoError(fmt::format("{}: has {} blocks of {} channels and patches of {}, which is no network that is known",
                                file.name, blocks_.size(), C, patch_));
    if (family.norm_before) norm_before_ = read.norm(prefix + family.norm_before, C, family.eps);
    norm_ = read.norm(prefix + family.norm, C, family.eps);
    if (family.project) project_ = read.matrix(prefix + family.project, C, -1);
    place(read.matrix(prefix + family.first, 1, C), read.matrix(prefix + family.places, -1, C), file.name);
  }

  int size() const override { return kSize; }
  int features() const override { return int(project_.defined() ? project_.dim(1) : patches_.out()); }

  Output operator()(const Tensor& images) const override { return {levels(normalise(images)).pooled, {}}; }

  Tensor normalise(const Tensor& images) const override { return normalised(images, family_.normalisation); }

  Levels levels(const Tensor& images) const override {
    Levels found;
    const Tensor first =
        slice(walk(images, family_.levels,
                   [&](const Tensor& x) { found.maps.push_back(map_of(family_.norms_levels ? norm_(x) : x)); }),
              1, 0, 1);
    found.pooled = widened(norm_(reshape(first, {first.dim(0), first.dim(2)})));
    if (project_.defined()) found.pooled = matmul(found.pooled, project_);
    return found;
  }

  // Behind each quarter of the blocks, all of one size.
  std::vector<Tensor> pyramid(const Tensor& images) const override {
    const int count = int(blocks_.size());
    const std::array<int, 4> quarters{count / 4, count / 2, count * 3 / 4, count};
    std::vector<Tensor> maps;
    walk(images, quarters, [&](const Tensor& x) { maps.push_back(map_of(x)); });
    return maps;
  }

 private:
  // The tokens behind the last block; visit(them) behind so many.
  template <class Visit>
  Tensor walk(const Tensor& images, std::span<const int> numbers, Visit visit) const {
    require_size(images);
    const int64_t N = images.dim(0), side = kSize / patch_, C = patches_.out();
    const Tensor lines = reshape(as_type(images, options_.type), {N, side, patch_, side, patch_ * 3});
    const Tensor squares = reshape(permute(lines, {0, 1, 3, 2, 4}), {N, side * side, patch_ * patch_ * 3});
    Tensor x = concat({expand(first_, {N, 1, C}, options_.type), each_token(patches_, squares) + places_}, 1);
    if (family_.norm_before) x = norm_before_(x);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      x = blocks_[i](std::exchange(x, {}), family_.act);
      if (std::ranges::find(numbers, int(i + 1)) != numbers.end()) visit(x);
    }
    return x;
  }
  // Of patches, without the first token.
  Tensor map_of(const Tensor& x) const {
    return reshape(slice(x, 1, 1, x.dim(1)), {x.dim(0), kSize / patch_, kSize / patch_, x.dim(2)});
  }

  // What is added to tokens: to the first one, which stands for the whole image, and to those of patches, of which
  // DINOv2's file has more than there are here.
  void place(const Tensor& first, const Tensor& places, const std::string& file) {
    const int64_t C = first.dim(1), count = places.dim(0) - 1, side = kSize / patch_;
    const auto stored = int64_t(std::lround(std::sqrt(double(std::max<int64_t>(count, 0)))));
    if (stored < 1 || stored * stored != count)
      throw IoError(fmt::format("{}: has places for {} tokens, expected one and a square", file, count + 1));
    Tensor grid = reshape(slice(places, 0, 1, count + 1), {1, stored, stored, C});
    // A tenth of a patch more, as DINOv2 has it since its first day.
    if (stored != side) grid = resize(grid, side, side, Resize::bicubic, double(stored) / (double(side) + 0.1));
    places_ = as_type(reshape(grid, {1, side * side, C}), options_.type);
    first_ = reshape(first + slice(places, 0, 0, 1), {1, 1, C});
  }

  const Family& family_;
  int64_t patch_;
  FeatureLayer patches_;
  std::vector<Block> blocks_;
  LayerNorm norm_before_, norm_;
  Tensor project_, first_, places_;
};

template <const Family& family>
std::unique_ptr<FeatureNetwork> make(const SafetensorsFile& weights, const FeatureOptions& options,
                                     const Device& device) {
  return std::make_unique<Vit>(weights, family, options, device);
}

using Dims = std::vector<int64_t>;

bool is_dino(const SafetensorsFile& file, int64_t channels, int64_t patch) {
  return shape_in(file, "patch_embed.proj.weight") == Dims{channels, 3, patch, patch} &&
         shape_in(file, "cls_token") == Dims{1, 1, channels} && !file.contains("head.weight");
}

}  // namespace

FeatureModel clip_vit_b32_model() {
  return {
      .name = "clip-vit-b32",
      .only_size = kSize,
      .published = "the state dict of OpenAI's ViT-B-32.pt, whose SHA-256 begins with 40d36571, saved by torch.save",
      .files = {},
      .recognise =
          [](const SafetensorsFile& file) {
            return shape_in(file, prefix_of(file, kClip) + "conv1.weight") == Dims{768, 3, 32, 32};
          },
      .make = make<kClip>};
}

FeatureModel dino_vit_b16_model() {
  return {.name = "dino-vit-b16",
          .only_size = kSize,
          .published = "dino_vitbase16_pretrain.pth of facebookresearch/dino",
          .files = {"dino_vitbase16_pretrain.pth"},
          .recognise = [](const SafetensorsFile& file) { return is_dino(file, 768, 16); },
          .make = make<kDino>};
}

FeatureModel dinov2_vit_s14_model() {
  return {.name = "dinov2-vit-s14",
          .only_size = kSize,
          .published = "dinov2_vits14_pretrain.pth of facebookresearch/dinov2",
          .files = {"dinov2_vits14_pretrain.pth"},
          .recognise =
              [](const SafetensorsFile& file) { return is_dino(file, 384, 14) && file.contains("blocks.0.ls1.gamma"); },
          .make = make<kDino>};
}

}  // namespace firn
