// StyleGAN2 (Karras et al. 2020, arXiv 1912.04958 and 2006.06676). Tensor names are NVIDIA's; 4-D weights are stored
// [O,K,K,I] here and OIHW in files. Images are [N,H,W,channels] f32 (f64) in [-1,1].
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/parameters.h"

namespace firn {

enum class Architecture { orig, skip, resnet };

struct StyleGan2Options {
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

  int start_height() const;
  int start_width() const;
  std::vector<int> blocks() const;  // nominal sizes 4, 8, ..., of the shorter side: names b4, b8, ...
  int channels(int block) const;    // min(channel_base / block, channel_max)
  int num_ws() const;               // 2 log2(blocks) - 2
  void check() const;               // ConfigError with the reason
};

enum class NoiseMode { none, constant, random };

struct Truncation {
  double psi = 1;
  int cutoff = -1;  // how many of the ws are truncated; -1: all
};

struct StyledConv {  // a modulated convolution with noise, bias and activation, or a toRGB
  Parameter weight, bias, affine_weight, affine_bias, noise_strength, noise_const;
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
  Parameter w_avg;  // undefined in D
};

// While one lives, this thread makes networks of names and shapes alone, to hold a file against before memory is spent.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
  static bool active();

 private:
  bool outer_;
};

class StyleGan2Generator {
 public:
  StyleGan2Generator(StyleGan2Options options, const Device& device);
  const StyleGan2Options& options() const { return options_; }
  const Parameters& parameters() const { return parameters_; }
  const Device& device() const { return device_; }

  // z [N,z_dim], labels one-hot [N,c_dim] or undefined -> w [N,w_dim].
  Tensor map(const Tensor& z, const Tensor& labels) const;
  // w [N,w_dim] -> ws [N,num_ws,w_dim], truncated towards w_avg.
  Tensor broadcast(const Tensor& w, Truncation truncation = {}) const;
  // Style mixing: ws[n,i] = share[i] w1[n] + (1 - share[i]) w2[n]. share [num_ws] lies in device memory, so that it can
  // change from run to run of one recording; set_mixing(share, cutoff) makes it 1 before the cutoff (1..num_ws), then
  // 0.
  Tensor mix(const Tensor& w1, const Tensor& w2, const Tensor& share) const;
  void set_mixing(Tensor& share, int cutoff) const;  // without waiting for the device
  Tensor mixing(int cutoff) const;                   // a new share
  // w_avg <- lerp(mean(w), w_avg, 0.995): once per training-mode mapping call, not for the mixing call.
  void update_w_avg(const Tensor& w);
  // ws [N,num_ws,w_dim] -> images. rng only for NoiseMode::random.
  Tensor synthesize(const Tensor& ws, NoiseMode noise, Rng* rng = nullptr) const;

 private:
  StyleGan2Options options_;
  Device device_;
  Parameters parameters_;
  MappingNetwork mapping_;
  std::vector<SynthesisBlock> blocks_;
};

struct DiscriminatorBlock {
  int size = 0;
  Parameter fromrgb_weight, fromrgb_bias;
  Parameter conv0_weight, conv0_bias, conv1_weight, conv1_bias, skip_weight;
};

class StyleGan2Discriminator {
 public:
  StyleGan2Discriminator(StyleGan2Options options, const Device& device);
  const StyleGan2Options& options() const { return options_; }
  const Parameters& parameters() const { return parameters_; }
  const Device& device() const { return device_; }

  // images [N,H,W,C], labels one-hot [N,c_dim] or undefined -> logits [N,1]. `segments`: independent batches in one
  // (reals and fakes), between which minibatch_stddev does not mix.
  Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1) const;

  // The same call in two parts, logits(features(images)), cut behind the blocks in front that are frozen as a whole.
  // ConfigError where there is no such block, and in the skip architecture, whose later blocks read the images too.
  int frozen_blocks() const;
  Tensor features(const Tensor& images) const;  // features_shape(N), features_type()
  Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1) const;
  Shape features_shape(int64_t n) const;
  DType features_type() const;

  // One trainable layer's share of the work, front (highest resolution) to back, for the freeze table.
  struct Layer {
    std::string name;                     // "b64.conv0"
    std::vector<std::string> parameters;  // "b64.conv0.weight", "b64.conv0.bias"
    double flops;                         // forward, per image
  };
  std::vector<Layer> layers() const;

 private:
  struct State {
    Tensor x, image;  // x: undefined before the first block
  };
  State run_blocks(State state, size_t begin, size_t end) const;
  Tensor finish(State state, const Tensor& labels, int segments) const;

  StyleGan2Options options_;
  Device device_;
  Parameters parameters_;
  MappingNetwork mapping_;
  std::vector<DiscriminatorBlock> blocks_;
  Parameter fromrgb_weight_, fromrgb_bias_;  // b4's, in the skip architecture
  Parameter conv_weight_, conv_bias_, fc_weight_, fc_bias_, out_weight_, out_bias_;
};

}  // namespace firn
