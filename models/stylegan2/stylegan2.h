// StyleGAN2 (Karras et al. 2020, arXiv 1912.04958 and 2006.06676). Tensor names are NVIDIA's; 4-D weights are stored
// [O,K,K,I] here and OIHW in files. Images are [N,H,W,channels] f32 (f64) in [-1,1].
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "models/network.h"
#include "models/spec.h"

namespace firn {

enum class Architecture { orig, skip, resnet };

struct StyleGan2Options {
  static constexpr std::string_view kind = "stylegan2";

  int height = 64,
      width = 0;  // width 0: square. Both are start * 2^k; the start grid keeps the aspect, its shorter side is 4
  int img_channels = 3;
  int c_dim = 0;  // classes; 0: unconditional
  int z_dim = 512, w_dim = 512;
  int channel_base = 16384, channel_max = 512;
  int mapping_layers = 8;
  Architecture g_architecture = Architecture::skip, d_architecture = Architecture::resnet;
  int mbstd_group = 4, mbstd_channels = 1;
  double conv_clamp = -1;              // < 0: none
  DType type = DType::f32;             // of parameters: f32 or f64
  DType activation_type = DType::f32;  // bf16: blocks above 4x4 keep their activations in bf16
  uint64_t seed = 0;                   // of the initial weights
  bool modulated = false;              // whether convolutions have a modulation (models/layers/maker.h)
  bool output_scale = false;           // whether G's convolutions have a scale behind the demodulation

  int start_height() const;
  int start_width() const;
  std::vector<int> blocks() const;  // nominal sizes 4, 8, ..., of the shorter side: names b4, b8, ...
  int channels(int block) const;    // min(channel_base / block, channel_max)
  int num_ws() const;               // 2 log2(blocks) - 2
  void check() const;               // ConfigError with the reason
  void visit(OptionVisitor& v);
  std::string describe() const;
};

struct StyledConv {  // a modulated convolution with noise, bias and activation, or a toRGB
  Parameter weight, bias, affine_weight, affine_bias, noise_strength, noise_const;
  std::optional<Parameter> scale;  // of what is demodulated
  bool up = false;
};

struct SynthesisBlock {
  int size = 0;
  Parameter constant;  // b4 only
  std::optional<StyledConv> conv0, torgb;
  StyledConv conv1;
  Parameter skip_weight;  // resnet
};

struct MappingNetwork {
  Parameter embed_weight, embed_bias;
  std::vector<Parameter> weights, biases;
};

class StyleGan2Generator : public StyleGenerator {
 public:
  StyleGan2Generator(StyleGan2Options options, const Device& device);
  const StyleGan2Options& options() const { return options_; }
  int z_dim() const override { return options_.z_dim; }
  int classes() const override { return options_.c_dim; }
  DType type() const override { return options_.type; }
  int num_ws() const override { return options_.num_ws(); }
  int w_dim() const override { return options_.w_dim; }

  Tensor map(const Tensor& z, const Tensor& labels) const override;
  Tensor synthesize(const Tensor& ws, const Noise& noise) const override;
  std::vector<Tensor> noise_maps() const override;
  std::vector<Parameters> affines() const override;

  Parts parts() const override;
  std::vector<std::string> tap_names() const override;  // "b16": behind the block of that size
  std::vector<std::string> constant_names() const override;
  const StoredTensor* constant(const std::string& name) const override;

 private:
  StyleGan2Options options_;
  MappingNetwork mapping_;
  std::vector<SynthesisBlock> blocks_;
};

struct DiscriminatorBlock {
  int size = 0;
  Parameter fromrgb_weight, fromrgb_bias;
  Parameter conv0_weight, conv0_bias, conv1_weight, conv1_bias, skip_weight;
};

class StyleGan2Discriminator : public Discriminator {
 public:
  StyleGan2Discriminator(StyleGan2Options options, const Device& device);
  const StyleGan2Options& options() const { return options_; }

  Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1,
                    Mode mode = Mode::train) const override;

  int frozen_blocks() const override;
  Tensor features(const Tensor& images) const override;  // not in the skip architecture, whose later blocks read images
  Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1,
                Mode mode = Mode::train) const override;
  Shape features_shape(int64_t n) const override;
  DType features_type() const override;

  std::vector<Layer> layers() const override;
  std::vector<std::string> tap_names() const override;  // "b16": behind the block of that size, which halves it; "b4"
  std::vector<std::string> constant_names() const override;
  const StoredTensor* constant(const std::string& name) const override;

 private:
  struct State {
    Tensor x, image;  // x: undefined before the first block
  };
  State run_blocks(State state, size_t begin, size_t end) const;
  Tensor finish(State state, const Tensor& labels, int segments) const;

  StyleGan2Options options_;
  MappingNetwork mapping_;
  std::vector<DiscriminatorBlock> blocks_;
  Parameter fromrgb_weight_, fromrgb_bias_;  // b4's, in the skip architecture
  Parameter conv_weight_, conv_bias_, fc_weight_, fc_bias_, out_weight_, out_bias_;
};

Architecture architecture_from_name(std::string_view name);  // ConfigError
const char* name_of(Architecture architecture);

}  // namespace firn
