// StyleGAN (Karras et al. 2019, arXiv 1812.04948) as FreezeD adapts it: instance normalisation with styles for scale
// and shift, noise and blur at every resolution, a plain discriminator. Tensor names are those of rosinality's port and
// so count blocks: G's from 4x4 up, D's down to 4x4, which is always number 8. Images are [N,H,W,channels] f32 (f64).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "models/network.h"
#include "models/spec.h"

namespace firn {

struct StyleGanOptions {
  static constexpr std::string_view kind = "stylegan";

  int height = 64, width = 0;  // a power of two from 8 to 1024, square
  int img_channels = 3;
  int c_dim = 0;    // there are no classes
  int z_dim = 512;  // of latents and of styles
  int channel_base = 16384, channel_max = 512;
  int mapping_layers = 8;
  int fused_from = 128;                // from this size on files have convolutions that resample in one piece
  DType type = DType::f32;             // of parameters: f32 or f64
  DType activation_type = DType::f32;  // bf16: blocks above 4x4 keep their activations in bf16
  uint64_t seed = 0;                   // of the initial weights
  bool modulated = false;              // whether convolutions have a modulation (models/layers/maker.h)
  bool growing = false;                // whether images of all sizes from 8 on can be made and judged

  std::vector<int> sizes() const;  // 4, 8, ..., height
  int channels(int size) const;    // min(channel_base / size, channel_max)
  void check() const;              // ConfigError with the reason
  void visit(OptionVisitor& v);
  std::string describe() const;
};

struct EqualisedLayer {  // weights count by sqrt(2 / inputs)
  Parameter weight, bias;
};

struct AdaptiveConv {   // a convolution with noise, leaky ReLU and adaptive instance normalisation
  EqualisedLayer conv;  // none in front of 4x4, where a constant is learnt
  Parameter noise_weight;
  EqualisedLayer style;
};

struct StyleGanBlock {
  int size = 0;
  std::string name;                 // "generator.progression.0", "progression.8"
  Parameter constant, noise_const;  // 4x4 only; [1,H,W], of all noise of this size
  AdaptiveConv conv1, conv2;
};

class StyleGanGenerator : public StyleGenerator {
 public:
  StyleGanGenerator(StyleGanOptions options, const Device& device);
  const StyleGanOptions& options() const { return options_; }
  int z_dim() const override { return options_.z_dim; }
  int classes() const override { return 0; }
  DType type() const override { return options_.type; }
  int num_ws() const override { return static_cast<int>(blocks_.size()); }  // one a block
  int w_dim() const override { return options_.z_dim; }

  Tensor map(const Tensor& z, const Tensor& labels) const override;
  Tensor synthesize(const Tensor& ws, const Noise& noise) const override;
  std::vector<Tensor> noise_maps() const override;  // one a block, whose two layers have the same
  std::vector<Parameters> affines() const override;
  void estimate_statistics() override { estimate_w_avg(); }  // as published

  Parts parts() const override;
  std::vector<std::string> tap_names() const override;  // "progression.2": behind that block
  std::vector<std::string> constant_names() const override;
  const StoredTensor* constant(const std::string& name) const override;

 private:
  StyleGanOptions options_;
  std::vector<EqualisedLayer> mapping_;
  std::vector<StyleGanBlock> blocks_;
  std::vector<EqualisedLayer> to_rgb_;  // of the last block, or growing of all but the first
  Parameter growth_;  // growing: how many blocks follow the first one, the last of them perhaps in part
  std::map<std::string, StoredTensor> blurs_;
};

struct StyleGanDownBlock {
  int size = 0;
  std::string name;
  EqualisedLayer conv1, conv2;
};

class StyleGanDiscriminator : public Discriminator {
 public:
  StyleGanDiscriminator(StyleGanOptions options, const Device& device);
  const StyleGanOptions& options() const { return options_; }

  // Statistics are those of a whole segment.
  Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1,
                    Mode mode = Mode::train) const override;

  int frozen_blocks() const override;
  Tensor features(const Tensor& images) const override;
  Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1,
                Mode mode = Mode::train) const override;
  Shape features_shape(int64_t n) const override;
  DType features_type() const override;

  std::vector<Layer> layers() const override;
  std::vector<std::string> tap_names() const override;  // "progression.5": behind that block
  std::vector<std::string> constant_names() const override;
  const StoredTensor* constant(const std::string& name) const override;

 private:
  Tensor run_blocks(Tensor x, size_t begin, size_t end) const;  // images, if it begins at 0
  Tensor head(const Tensor& x, int segments) const;
  const StyleGanDownBlock& last() const { return blocks_.back(); }

  StyleGanOptions options_;
  std::vector<StyleGanDownBlock> blocks_;  // the last reads 4x4
  std::vector<EqualisedLayer> from_rgb_;   // of the first block, or growing of all but the last
  EqualisedLayer linear_;
  Parameter growth_;  // as G's
  std::map<std::string, StoredTensor> blurs_;
};

}  // namespace firn
