// Vision-aided training (Kumari et al. 2022, arXiv 2112.09130): frozen networks with small heads that train judge
// images beside D. Snapshots hold the heads; the networks are named by file and hash.
#pragma once
#include "models/features/vision_head.h"
#include "training/methods/method.h"

namespace firn {

enum class VisionLoss { sigmoid, hinge };

struct VisionAided {
  static constexpr std::string_view kind = "vision-aided";
  std::string networks;  // NAME+NAME
  std::string hashes;    // SHA-256 of their weights, in that order
  double weight = 1, warm_up_kimg = 0, smoothing = 0.2;
  VisionLoss loss = VisionLoss::sigmoid;
  HeadKind head = HeadKind::spectral;
  std::string aug = "diffaug-color-translation-cutout";
  double target = 0.3, ada_kimg = 500;
  int size = 0;  // rows of the images that they are given; 0: as many as each was made for

  // One network after another (training/run/progression.h): how many, after a baseline without, each trained with for a
  // stage, out of which. Those that have joined are `networks`.
  int progressive = 0;
  double baseline_kimg = 500;  // 0 with --init
  std::vector<double> stage_kimg = {4000, 1000, 1000};
  std::string bank;         // NAME+NAME
  std::string unsmoothed;   // those of `networks` for which real images are 1: NAME+NAME
  int64_t stage_began = 0;  // images

  std::vector<std::string> names() const;
  int64_t stage_end(int joined) const;  // images, once so many networks have joined
  void visit(OptionVisitor& v);
};

// Of one head, whose logits come level by level: the sum over levels of means. `real`: what D is to find, or G wants D
// to. Sigmoid: cross entropy, where real images are 1 - smoothing and fakes are 0.
Tensor vision_loss(const VisionAided& o, const std::vector<Tensor>& logits, bool real, bool of_g);

// With a head that the seed decides.
std::shared_ptr<VisionDiscriminator> make_judge(const TrainOptions& options, const FeatureWeights& weights,
                                                uint64_t seed, const Device& device);
inline std::string judge_role(const std::string& network) { return "vision-" + network; }
// From here on `network` is one of those that judge.
void let_judge(TrainOptions& options, const std::string& network);

Method vision_aided_method();

}  // namespace firn
