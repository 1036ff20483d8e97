// What D sees of images. A phase draws the numbers of a whole batch with its inputs, so that micro-batches cut them
// like everything else, and applies them wherever D sees images; where none were drawn, images stay as they are. A pipe
// is which numbers, and what they do.
#pragma once
#include <memory>

#include "kernels/ops/augment.h"
#include "training/step/phase.h"

namespace firn {

class Pipe {
 public:
  virtual ~Pipe() = default;
  virtual std::vector<kernels::DrawnNumber> numbers(const ImageShape& images) const = 0;
  virtual bool has_noise() const { return false; }
  // x [N,H,W,C]; values [N,numbers]; noise like x, N(0,1), where there is some. Differentiable by x to any order.
  virtual Tensor apply(Tensor x, const Tensor& values, const Tensor& noise) const = 0;
};

std::unique_ptr<Pipe> ada_pipe(const AugmentOptions& options);        // Karras et al. 2020, arXiv 2006.06676 (ada.cpp)
std::unique_ptr<Pipe> diff_augment(std::vector<std::string> policy);  // Zhao et al. 2020, arXiv 2006.10738

// What a run's state keeps of it: "augment_p" [1], and of the iterations since p last moved "augment_signs" [2], the
// sum of the signs of D's logits of reals and their number.
std::vector<std::pair<std::string, Tensor>> augment_scalars(const TrainOptions& options, const Device& device);

class Augment {
 public:
  Augment() = default;  // none
  Augment(const TrainOptions& options, TrainState& state);
  // Of images of that shape, of the type and device of p [1]; `signs` [2] as of augment_scalars(), undefined: p stays.
  Augment(const AugmentOptions& options, const ImageShape& images, Tensor p, Tensor signs = {});

  bool on() const { return pipe_ != nullptr; }
  // Puts what n images need under names that begin with `which`.
  void draw(Inputs& in, const std::string& which, int64_t n, Rng& rng) const;
  Tensor operator()(const Tensor& images, const Inputs& in, const std::string& which) const;
  // Takes note of D's logits of augmented reals, and reports them under this name.
  void note(const Tensor& logits, std::vector<Term>& report, const std::string& stat = "Loss/signs/real") const;
  // After every iteration: where another kInterval of them are over, p moves by a step towards where those signs are
  // what the options ask for. `images` that D saw in one.
  static constexpr int kInterval = 4;
  void iteration_ends(int64_t iterations, int64_t images) const;

 private:
  std::shared_ptr<const Pipe> pipe_;
  AugmentOptions options_;
  ImageShape images_;
  mutable Tensor p_, signs_;  // signs_ undefined: p stays
};

}  // namespace firn
