// Swin-T (Liu et al. 2021, arXiv 2103.14030), as its authors name it; MoBY's weights, trained without labels, too. And
// as it finds objects (COCO) and segments (ADE20K), where images are of other sizes and maps are padded to whole
// windows.
#include <utility>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kPatch = 4;
constexpr int64_t kWindow = 7, kTokens = kWindow * kWindow, kHead = 32;  // channels of a head
constexpr int kBlocks[]{2, 2, 6, 2};

// What tells the families apart: rows of images, the last norm, and what may stand before all names.
struct Family {
  int size;
  const char* norm;
  std::initializer_list<const char*> prefixes;
};
constexpr auto kMoby = {"encoder.", "model.encoder.", "model."}, kOpenMmlab = {"backbone.", "state_dict.backbone."};
constexpr Family kClassifier{224, "norm", kMoby}, kDense{256, "norm3", kOpenMmlab};

std::string prefix_of(const SafetensorsFile& file, const Family& f) {
  return prefix_of(file, "patch_embed.proj.weight", f.prefixes);
}

int64_t whole_windows(int64_t side) { return (side + kWindow - 1) / kWindow * kWindow; }

// [N,H,W,C] with `by` rows and columns from the front behind the others; by < 0: back.
Tensor rolled(const Tensor& x, int64_t by) {
  Tensor y = x;
  for (const int axis : {1, 2}) {
    const int64_t n = y.dim(axis), at = by < 0 ? n + by : by;
    y = concat({slice(y, axis, at, n), slice(y, axis, 0, at)}, axis);
  }
  return y;
}

struct Block {
  LayerNorm norm1, norm2;
  FeatureLayer qkv, attended, up, down;
  Tensor bias;  // [windows or 1,heads,49,49] on what attention compares
  bool shifted;

  // [N,H,W,C] -> [N windows,49,C], and back
  static Tensor windows(const Tensor& x) {
    const int64_t W = x.dim(2) / kWindow, C = x.dim(3);
    return reshape(permute(reshape(x, {-1, kWindow, W, kWindow, C}), {0, 2, 1, 3, 4}), {-1, kTokens, C});
  }
  static Tensor image(const Tensor& x, const Shape& shape) {
    const int64_t W = shape[2] / kWindow, C = shape[3];
    return reshape(permute(reshape(x, {-1, W, kWindow, kWindow, C}), {0, 2, 1, 3, 4}), shape);
  }

  Tensor attention_in_windows(const Tensor& x) const {
    const int64_t C = x.dim(3);
    const Tensor all = windows(each_token(qkv, x));
    const auto part = [&](int64_t i) { return slice(all, 2, i * C, (i + 1) * C); };
    return each_token(attended, image(attention(part(0), part(1), part(2), C / kHead, bias), x.shape()));
  }

  Tensor operator()(const Tensor& x) const {
    constexpr int64_t shift = kWindow / 2;
    const int64_t side = x.dim(1), padded = whole_windows(side);
    Tensor h = norm1(x);
    if (padded > side) h = embed(embed(h, 1, 0, padded), 2, 0, padded);
    h = shifted ? rolled(attention_in_windows(rolled(h, shift)), -shift) : attention_in_windows(h);
    if (padded > side) h = slice(slice(h, 1, 0, side), 2, 0, side);
    const Tensor y = x + h;
    return y + each_token(down, gelu(each_token(up, norm2(y))));
  }
};

// Which of the nine parts, that do not see each other, a pixel of a shifted image is of.
int64_t region(int64_t row, int64_t column, int64_t side) {
  const auto third = [side](int64_t i) { return i < side - kWindow ? 0 : i < side - kWindow / 2 ? 1 : 2; };
  return third(row) * 3 + third(column);
}

// Of a table [13 13,heads] by where one token lies from another, and far below zero for what lies across an edge.
std::vector<double> biases(const std::vector<double>& table, int64_t heads, int64_t side, bool shifted) {
  const int64_t windows = shifted ? side / kWindow : 1;  // in a row
  std::vector<double> all;
  for (int64_t w = 0; w < windows * windows; ++w)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < kTokens; ++i)
        for (int64_t j = 0; j < kTokens; ++j) {
          const auto of = [&](int64_t t) {
            return region(w / windows * kWindow + t / kWindow, w % windows * kWindow + t % kWindow, side);
          };
          const int64_t down = i / kWindow - j / kWindow + kWindow - 1,
                        across = i % kWindow - j % kWindow + kWindow - 1;
          const double near = table[size_t((down * (2 * kWindow - 1) + across) * heads + h)];
          all.push_back(shifted && of(i) != of(j) ? near - 100 : near);
        }
  return all;
}

class Swin final : public FeatureNetwork {
 public:
  Swin(const SafetensorsFile& file, const Family& family, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device), size_(family.size) {
    const LayerReader read(parameters_, file, options, device);
    const std::string prefix = prefix_of(file, family);
    const auto layer = [&](const std::string& name, int64_t in, int64_t out = 0) {
      return read({.name = name, .in = in, .out = out, .act = linear()});
    };
    patches_ = read(
        {.name = prefix + "patch_embed.proj", .in = 3, .window = kPatch, .stride = kPatch, .pad = 0, .act = linear()});
    int64_t C = patches_.out(), side = size_ / kPatch;
    patches_norm_ = read.norm(prefix + "patch_embed.norm", C, kNormEps);
    for (size_t s = 0; s < std::size(kBlocks); ++s) {
      const std::string stage = fmt::format("{}layers.{}.", prefix, s);
      if (C % kHead)
        throw IoError(fmt::format("{}: {} has {} channels, expected heads of {}", file.name, stage, C, kHead));
      Stage& to = stages_.emplace_back();
      for (int i = 0; i < kBlocks[s]; ++i) {
        const std::string at = fmt::format("{}blocks.{}.", stage, i);
        const int64_t padded = whole_windows(side);
        const bool shifted = i % 2 && padded > kWindow;
        const int64_t places = (2 * kWindow - 1) * (2 * kWindow - 1), heads = C / kHead;
        const Tensor table = read.matrix(at + "attn.relative_position_bias_table", places, heads);
        const int64_t windows = shifted ? padded * padded / kTokens : 1;
        Block b{.norm1 = read.norm(at + "norm1", C, kNormEps),
                .norm2 = read.norm(at + "norm2", C, kNormEps),
                .qkv = layer(at + "attn.qkv", C, 3 * C),
                .attended = layer(at + "attn.proj", C, C),
                .up = layer(at + "mlp.fc1", C),
                .down = {},
                .bias = Tensor::from(biases(table.to_doubles(), heads, padded, shifted),
                                     {windows, heads, kTokens, kTokens}, table.type(), device),
                .shifted = shifted};
        b.down = layer(at + "mlp.fc2", b.up.out(), C);
        to.blocks.push_back(std::move(b));
      }
      if (s + 1 == std::size(kBlocks)) break;
      to.norm = read.norm(stage + "downsample.norm", 4 * C, kNormEps);
      to.halve = layer(stage + "downsample.reduction", 4 * C);
      C = to.halve.out(), side /= 2;
    }
    norm_ = read.norm(prefix + family.norm, C, kNormEps);
  }

  int size() const override { return size_; }
  int features() const override { return int(norm_.gamma.dim(0)); }

  Output operator()(const Tensor& images) const override { return {levels(normalise(images)).pooled, {}}; }

  Levels levels(const Tensor& images) const override { return one_level(norm_(maps(images).back())); }
  std::vector<Tensor> pyramid(const Tensor& images) const override { return maps(images); }

 private:
  struct Stage {
    std::vector<Block> blocks;
    LayerNorm norm;
    FeatureLayer halve;
  };

  // What each stage makes, before it is halved.
  std::vector<Tensor> maps(const Tensor& images) const {
    require_size(images);
    std::vector<Tensor> all;
    Tensor x = patches_norm_(patches_(as_type(images, options_.type)));
    for (const Stage& stage : stages_) {
      for (const Block& block : stage.blocks) x = block(std::exchange(x, {}));
      all.push_back(x);
      if (stage.halve.w.defined()) x = each_token(stage.halve, stage.norm(in_fours(x)));
    }
    return all;
  }

  // [N,H,W,C] -> [N,H/2,W/2,4C]: of each 2x2 the first column, then the second.
  static Tensor in_fours(const Tensor& x) {
    const int64_t N = x.dim(0), H = x.dim(1) / 2, W = x.dim(2) / 2, C = x.dim(3);
    return reshape(permute(reshape(x, {N * H, 2, W, 2, C}), {0, 2, 3, 1, 4}), {N, H, W, 4 * C});
  }

  int size_;
  FeatureLayer patches_;
  LayerNorm patches_norm_, norm_;
  std::vector<Stage> stages_;
};

template <const Family& family>
std::unique_ptr<FeatureNetwork> make(const SafetensorsFile& weights, const FeatureOptions& options,
                                     const Device& device) {
  return std::make_unique<Swin>(weights, family, options, device);
}

bool is_swin_t(const SafetensorsFile& file, const Family& family) {
  const std::string prefix = prefix_of(file, family);
  return shape_in(file, prefix + "patch_embed.proj.weight") == std::vector<int64_t>{96, 3, 4, 4} &&
         shape_in(file, prefix + "layers.2.blocks.5.attn.qkv.weight") == std::vector<int64_t>{1152, 384} &&
         file.contains(prefix + family.norm + ".weight");
}

// By a layer of its head that has a row for each class: nothing else says what a backbone has learnt.
bool has_classes(const SafetensorsFile& file, const std::string& layer, int64_t count) {
  const auto shape = shape_in(file, prefix_of(file, layer, {"state_dict."}) + layer);
  return !shape.empty() && shape[0] == count;
}

}  // namespace

FeatureModel swin_t_model() {
  return {.name = "swin-t",
          .only_size = kClassifier.size,
          .published =
              "moby_swin_t_300ep_pretrained.pth of SwinTransformer/storage, release v1.0.3, or "
              "swin_tiny_patch4_window7_224.pth, release v1.0.0",
          .files = {"moby_swin_t_300ep_pretrained.pth", "swin_tiny_patch4_window7_224.pth"},
          .recognise = [](const SafetensorsFile& file) { return is_swin_t(file, kClassifier); },
          .make = make<kClassifier>};
}

FeatureModel swin_t_coco_model() {
  return {.name = "swin-t-coco",
          .only_size = kDense.size,
          .judge_size = kDense.size,
          .published = "cascade_mask_rcnn_swin_tiny_patch4_window7.pth of SwinTransformer/storage, release v1.0.2",
          .files = {"cascade_mask_rcnn_swin_tiny_patch4_window7.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return is_swin_t(file, kDense) && has_classes(file, "roi_head.bbox_head.0.fc_cls.weight", 81);
              },
          .make = make<kDense>};
}

FeatureModel swin_t_ade_model() {
  return {.name = "swin-t-ade",
          .only_size = kDense.size,
          .judge_size = kDense.size,
          .published = "upernet_swin_tiny_patch4_window7_512x512.pth of SwinTransformer/storage, release v1.0.1",
          .files = {"upernet_swin_tiny_patch4_window7_512x512.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return is_swin_t(file, kDense) && has_classes(file, "decode_head.conv_seg.weight", 150);
              },
          .make = make<kDense>};
}

}  // namespace firn
