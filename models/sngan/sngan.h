// SNGAN-projection (Miyato et al. 2018, arXiv 1802.05957; Miyato & Koyama 2018, arXiv 1802.05637) at 32, 64 and 128
// pixels: a ResNet with conditional batch normalisation, and one with spectral normalisation throughout, whose head
// projects on class embeddings. Without classes both are plain. Names of blocks count as the papers' code does.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/network.h"
#include "models/spec.h"

namespace firn {

struct SnganOptions {
  static constexpr std::string_view kind = "sngan";

  int height = 32, width = 0;  // 32, 64 or 128, square
  int img_channels = 3;
  int c_dim = 0;  // classes; 0: unconditional
  int z_dim = 128;
  int ch = 64;                         // all widths are multiples of it
  DType type = DType::f32;             // of parameters: f32 or f64
  DType activation_type = DType::f32;  // bf16: blocks keep their activations in bf16
  uint64_t seed = 0;                   // of the initial weights
  bool modulated = false;              // whether convolutions have a modulation (models/layers/maker.h)

  std::vector<int> g_widths() const;  // at 4x4, then behind each block
  struct Block {
    int in, out, hidden;
    bool down;
  };
  std::vector<Block> d_blocks() const;
  void check() const;  // ConfigError with the reason
  void visit(OptionVisitor& v);
  std::string describe() const;
};

struct BatchNormLayer {
  Parameter gamma, beta;        // [C], or [classes,C]
  Parameter avg_mean, avg_var;  // buffers [C]
};

struct SnganUpBlock {
  std::string name;
  BatchNormLayer b1, b2;
  Parameter c1_weight, c1_bias, c2_weight, c2_bias, c_sc_weight, c_sc_bias;
};

class SnganGenerator : public Generator {
 public:
  SnganGenerator(SnganOptions options, const Device& device);
  const SnganOptions& options() const { return options_; }
  int z_dim() const override { return options_.z_dim; }
  int classes() const override { return options_.c_dim; }
  DType type() const override { return options_.type; }

  // By the statistics of this batch, which move the averages; there is no noise.
  Tensor forward(const Tensor& z, const Tensor& labels, Rng* rng = nullptr) const override;
  Code code(const Tensor& z, const Tensor& labels, Truncation truncation = {}) const override;
  Tensor image(const Code& code, const Noise& noise = {}) const override;
  void estimate_statistics() override;  // the mean of those of a thousand images
  Parts parts() const override;
  std::vector<std::string> tap_names() const override;  // "block2": behind that block

 private:
  Tensor run(const Tensor& z, const Tensor& labels, const BatchNorm& by) const;

  SnganOptions options_;
  Parameter l1_weight_, l1_bias_, l7_weight_, l7_bias_;
  std::vector<SnganUpBlock> blocks_;
  BatchNormLayer b7_;
};

// A weight with its vector u of the power iteration; the number of its layer.
struct SpectralWeight {
  Parameter weight, u;
  std::optional<Parameter> bias;
  size_t number = 0;
};

struct SnganDownBlock {
  std::string name;
  bool down = true;
  SpectralWeight c1, c2;
  std::optional<SpectralWeight> c_sc;
};

class SnganDiscriminator : public Discriminator {
 public:
  SnganDiscriminator(SnganOptions options, const Device& device);
  const SnganOptions& options() const { return options_; }

  // Segments do not matter: samples are independent. Each call in training mode moves the vectors u once, each other
  // call those of the head.
  Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1,
                    Mode mode = Mode::train) const override;

  void settle() override;
  int frozen_blocks() const override;
  Tensor features(const Tensor& images) const override;
  Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1,
                Mode mode = Mode::train) const override;
  Shape features_shape(int64_t n) const override;
  DType features_type() const override;
  std::vector<Layer> layers() const override;
  std::vector<std::string> tap_names() const override;  // "block1": behind that block

 private:
  std::vector<SpectralWeight> spectral_layers(size_t begin, size_t end) const;  // of blocks, the last being the head
  std::vector<Spectral> normalise(size_t begin, size_t end, Mode mode) const;
  Tensor run_blocks(Tensor x, size_t begin, size_t end, const std::vector<Spectral>& sigma) const;
  Tensor head(const Tensor& x, const Tensor& labels, const std::vector<Spectral>& sigma) const;

  SnganOptions options_;
  std::vector<SnganDownBlock> blocks_;
  SpectralWeight linear_, embedding_;
  std::shared_ptr<std::vector<Spectral>> settled_;  // by number; sigma undefined where weights train
};

}  // namespace firn
