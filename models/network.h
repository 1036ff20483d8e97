// What training and sampling see of a network. Concrete classes are values, whose copies share their parameters.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/parameters.h"
#include "io/safetensors.h"

namespace firn {

class Taps;
class Miner;

class Network {
 public:
  virtual ~Network() = default;
  const Parameters& parameters() const { return parameters_; }
  const Device& device() const { return device_; }

  // Activations that Taps may ask for, in the order of a call.
  virtual std::vector<std::string> tap_names() const { return {}; }

  // Tensors beside the parameters that other programs expect in files, and the value of any that a file may have.
  virtual std::vector<std::string> constant_names() const { return {}; }
  virtual const StoredTensor* constant(const std::string& /*name*/) const { return nullptr; }

 protected:
  explicit Network(const Device& device) : device_(device) {}
  void tap(const std::string& name, const Tensor& x) const;  // whenever an activation is there
  Device device_;
  Parameters parameters_;

 private:
  friend class Taps;
  struct Slot {  // a copy of a network is another one
    Slot() = default;
    Slot(const Slot&) {}
    Slot& operator=(const Slot&) { return *this; }
    Taps* taps = nullptr;
  };
  mutable Slot slot_;
};

// Keeps named activations of a network's calls while it lives.
class Taps {
 public:
  Taps(const Network& network, std::vector<std::string> names);  // ConfigError for a name that the network has not
  ~Taps();
  Taps(const Taps&) = delete;
  Taps& operator=(const Taps&) = delete;
  const std::vector<std::string>& names() const { return names_; }
  const Tensor& at(const std::string& name, size_t call = 0) const;  // of the call-th call since; Error for none

 private:
  friend class Network;
  void keep(const std::string& name, const Tensor& x) const;
  const Network& network_;
  std::vector<std::string> names_;
  mutable std::vector<std::vector<Tensor>> kept_;  // by name, then by call
  Taps* outer_;
};

// Training moves what a network keeps of its batches: averages of statistics, vectors of the power iteration.
enum class Mode { train, eval };

enum class NoiseMode { none, constant, random, given };

// What a generator that has noise adds to its activations.
struct Noise {
  NoiseMode mode = NoiseMode::constant;
  Rng* rng = nullptr;             // for NoiseMode::random
  std::vector<Tensor> maps = {};  // for NoiseMode::given: like noise_maps(), or [N,H,W]

  Noise(NoiseMode m = NoiseMode::constant) : mode(m) {}
  Noise(Rng* r) : mode(r ? NoiseMode::random : NoiseMode::constant), rng(r) {}
  Noise(std::vector<Tensor> m) : mode(NoiseMode::given), maps(std::move(m)) {}
};

struct Truncation {
  double psi = 1;
  int cutoff = -1;  // how many of the styles are truncated; -1: all
};

// What one image is made of, besides noise.
struct Code {
  Tensor values;  // [N,...]: a style-based generator's ws, any other's z
  Tensor labels;  // undefined where `values` say all
};

class Generator : public Network {
 public:
  using Network::Network;

  // What methods mask, as patterns over parameters().
  struct Parts {
    std::vector<std::string> mapping;              // from latents to styles; may be empty
    std::vector<std::vector<std::string>> blocks;  // by resolution, the lowest first
    std::vector<std::string> styles;               // what scales and shifts of normalised features are made by
    std::vector<std::string> outputs;              // scales and shifts behind what normalises; may be empty
  };
  virtual Parts parts() const { return {}; }

  // From now on every latent passes the miner before anything else sees it.
  void mine_with(std::shared_ptr<const Miner> miner) { miner_ = std::move(miner); }
  const std::shared_ptr<const Miner>& miner() const { return miner_; }
  // From now on code() takes what `prior` makes of its latents, which are normal.
  using Prior = std::function<Tensor(const Tensor& z)>;
  void sample_with(Prior prior) { prior_ = std::move(prior); }
  const Prior& prior() const { return prior_; }
  virtual int z_dim() const = 0;
  virtual int classes() const = 0;  // 0: unconditional
  virtual DType type() const = 0;   // of latents and images

  // z [N,z_dim], labels [N] i32 or undefined -> images [N,H,W,C] in [-1,1], as while training. `rng` draws noise; null:
  // constant noise.
  virtual Tensor forward(const Tensor& z, const Tensor& labels, Rng* rng = nullptr) const = 0;
  // After training, in two steps. ConfigError for a truncation that the network does not have.
  virtual Code code(const Tensor& z, const Tensor& labels, Truncation truncation = {}) const = 0;
  // Not all have noise.
  virtual Tensor image(const Code& code, const Noise& noise = {}) const = 0;
  // Statistics that images are normalised by become those of these weights: an average of weights has none of its own.
  virtual void estimate_statistics() {}

 protected:
  Tensor latents(const Tensor& z) const;
  Tensor drawn(const Tensor& z) const { return prior_ ? prior_(z) : z; }  // of code()

 private:
  std::shared_ptr<const Miner> miner_;
  Prior prior_;
};

// StyleGAN's family: latents become styles, of which each layer takes its own.
class StyleGenerator : public Generator {
 public:
  using Generator::Generator;
  virtual int num_ws() const = 0;
  virtual int w_dim() const = 0;
  // z [N,z_dim] -> w [N,w_dim].
  virtual Tensor map(const Tensor& z, const Tensor& labels) const = 0;
  // w [N,w_dim] -> ws [N,num_ws,w_dim], truncated towards the average.
  Tensor broadcast(const Tensor& w, Truncation truncation = {}) const;
  // Style mixing: ws[n,i] = share[i] w1[n] + (1 - share[i]) w2[n]. share [num_ws] lies in device memory, so that it can
  // change from run to run of one recording; set_mixing(share, cutoff) makes it 1 before the cutoff (1..num_ws), then
  // 0.
  Tensor mix(const Tensor& w1, const Tensor& w2, const Tensor& share) const;
  void set_mixing(Tensor& share, int cutoff) const;  // without waiting for the device
  Tensor mixing(int cutoff) const;                   // a new share
  // w_avg <- lerp(mean(w), w_avg, 0.995): once per training-mode mapping call, not for the mixing call.
  void update_w_avg(const Tensor& w);
  void estimate_w_avg();  // w_avg <- the mean w of ten thousand latents, of all classes alike
  // ws [N,num_ws,w_dim] -> images.
  virtual Tensor synthesize(const Tensor& ws, const Noise& noise) const = 0;
  // What constant noise adds, [1,H,W] each, in the order of the layers.
  virtual std::vector<Tensor> noise_maps() const = 0;
  // The weights [O,w_dim] that each of the ws is read by.
  virtual std::vector<Parameters> affines() const = 0;

  Tensor forward(const Tensor& z, const Tensor& labels, Rng* rng) const override {
    return synthesize(broadcast(map(z, labels)), rng);
  }
  Code code(const Tensor& z, const Tensor& labels, Truncation truncation) const override {
    return {broadcast(map(drawn(z), labels), truncation), {}};
  }
  Tensor image(const Code& code, const Noise& noise) const override { return synthesize(code.values, noise); }

 protected:
  void require(const Tensor& ws, const Noise& noise) const;  // of synthesize(): ShapeError, ConfigError
  Parameter w_avg_;                                          // [w_dim]
};

// A generator as it is without its miner and its prior, while this lives.
class Unmined {
 public:
  explicit Unmined(Generator& g) : g_(g), miner_(g.miner()), prior_(g.prior()) {
    g.mine_with(nullptr);
    g.sample_with(nullptr);
  }
  ~Unmined() {
    g_.mine_with(miner_);
    g_.sample_with(prior_);
  }
  Unmined(const Unmined&) = delete;
  Unmined& operator=(const Unmined&) = delete;

 private:
  Generator& g_;
  std::shared_ptr<const Miner> miner_;
  Generator::Prior prior_;
};

class Discriminator : public Network {
 public:
  using Network::Network;

  // images [N,H,W,C], labels [N] i32 or undefined -> logits [N,1]. `segments`: independent batches in one (reals and
  // fakes), between which statistics over the batch do not mix.
  virtual Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1,
                            Mode mode = Mode::train) const = 0;

  // Before phases are run, and recorded: computes what does not change while frozen parameters stay as they are now.
  virtual void settle() {}

  // The same call in two parts, logits(features(images)), cut behind the blocks in front that are frozen as a whole.
  // ConfigError where there is no such block or the network cannot be cut there.
  virtual int frozen_blocks() const { return 0; }
  virtual Tensor features(const Tensor& images) const;  // features_shape(N), features_type()
  virtual Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1,
                        Mode mode = Mode::train) const;
  virtual Shape features_shape(int64_t n) const;
  virtual DType features_type() const { return DType::f32; }

  // One layer's share of the work, front (images) to back.
  enum class Reads { images, previous, block };  // `block`: what the block that it is in reads
  struct Layer {
    std::string name, block;              // "b64.conv0", "b64"
    std::vector<std::string> parameters;  // "b64.conv0.weight", "b64.conv0.bias"
    double flops;                         // forward, per image
    Reads reads = Reads::previous;
    bool head = false;  // always trains: it is not counted when layers are frozen by number
  };
  virtual std::vector<Layer> layers() const = 0;
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

}  // namespace firn
