// What objectives of style-based generators share: images of mixed styles, G's step, and R1.
#pragma once
#include "training/augment/augment.h"
#include "training/objectives/objective.h"

namespace firn {

class MixingFeed;
class GeneratedLabels;

// The images that one phase generates, with style mixing of that probability.
class StyledFakes {
 public:
  StyledFakes(const Training& t, int64_t n, double style_mixing);
  std::vector<std::shared_ptr<Feed>> feeds(Reals* reals) const;  // reals: a batch of those, too
  std::vector<std::shared_ptr<Feed>> feeds() const;
  template <class... I>
  std::vector<Phase::Input> inputs(const I&... more) const {
    return {{"z", {g_->z_dim()}, Phase::Input::Kind::normal},
            {"gen_labels", {}, Phase::Input::Kind::label, "labels"},
            more...};
  }
  Inputs draw(Rng& rng) const;

  // In terms(): the styles of these latents, in whose average they take part. rng null: constant noise.
  Tensor ws(const Inputs& in) const;
  Tensor images(const Tensor& ws, Rng* rng) const;
  Made made(const Tensor& images, const Inputs& in, Rng* rng) const;

 private:
  StyleGenerator* g_;
  int64_t n_;
  bool mixes_;
  std::shared_ptr<GeneratedLabels> labels_;
  std::shared_ptr<MixingFeed> mixing_;
};

Phase::Input images_input(const TrainOptions& options, const char* name);

// Gmain: G deceives D.
Phase styled_g_main(const Training& t, double style_mixing, GanLoss loss);

// Of reals: half of gamma times the penalty is the mean over samples of |dD/dx|^2 (Mescheder et al. 2018, arXiv
// 1801.04406), by the images as they are, through what happens to them.
struct R1 {
  Tensor images, logits, penalty;  // as D saw them; penalty []
};
R1 r1(const Discriminator& d, const Augment& augment, const Inputs& in);

}  // namespace firn
