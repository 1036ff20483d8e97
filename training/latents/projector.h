// The styles that a generator makes given images of (Karras et al. 2020, arXiv 1912.04958, appendix D, as
// stylegan2-ada-pytorch's projector does it): ws and, if wanted, maps of noise follow the gradient of a distance
// between images. The generator's weights stay as they are. Several images are projected side by side, none knows of
// the others.
#pragma once
#include <vector>

#include "engine/adam.h"
#include "engine/replay.h"
#include "io/images.h"
#include "models/features/lpips.h"
#include "models/network.h"

namespace firn {

struct ProjectionOptions {
  int steps = 1000;
  bool plus = false;                                // w+: a style for each layer, instead of one for all
  bool noise = false;                               // whether maps of noise are found, too; else it is constant
  double lr = 0.1, rampup = 0.05, rampdown = 0.25;  // ramps: their parts of all steps
  double shake = 0.02, shaken = 0.75;               // of what w is moved by at random, until that part of all steps
  double noise_weight = 1e5;                        // of what keeps the maps free of a picture
  double pixels = 0;                                // weight of the mean square of pixels' differences
  int samples = 10'000;                             // of w, whose deviation it is
  int candidates = 200;                             // of these; each image begins at the nearest; 0: at their mean
  int klass = -1;                                   // that w begins in; -1: in all
  uint64_t seed = 0;
};

class Projector {
 public:
  // targets [N,H,W,C] in [-1,1], of the generator's size. `lpips`, null for none, must outlive this, as `g` must.
  // ConfigError where there is nothing to compare images by.
  Projector(const StyleGenerator& g, const Tensor& targets, const Lpips* lpips, ProjectionOptions options);

  void step();
  int steps_done() const { return step_; }
  bool done() const { return step_ == options_.steps; }

  Tensor ws() const;                                          // [N,num_ws,w_dim]
  const std::vector<Tensor>& noise() const { return maps_; }  // [N,H,W] each; none: constant
  Tensor images() const;                                      // of these
  const Tensor& seen() const { return seen_; }                // those that the last step compared
  // Of each image, as the last step found them; waits for the device. Error where one is not finite.
  std::vector<double> distances() const;
  Tensor perceived(const Tensor& images) const;  // [N], LPIPS of these and the targets; Error without it

 private:
  Tensor styles(const Tensor& w) const;
  Tensor distance(const Tensor& images) const;
  Tensor within_range(const Tensor& images) const;
  void begin();
  Tensor nearest(const Tensor& candidates, const Tensor& mean) const;

  const StyleGenerator& g_;
  const Lpips* lpips_;
  ProjectionOptions options_;
  Tensor targets_, white_, black_;  // 1 where the targets are 1 or more, -1 or less, else 0
  Tensor w_, shake_, seen_, distances_;
  std::vector<Tensor> target_stages_, maps_;
  std::unique_ptr<Adam> adam_;
  double w_deviation_ = 0;
  int step_ = 0;
  Rng rng_;
  Replay replay_;
};

// Of two images of one size: 20 log10(255 / root of the mean square difference), infinite where they are the same.
double psnr(const Image& a, const Image& b);

}  // namespace firn
