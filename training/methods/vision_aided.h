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
  std::vector<std::string> names() const;
  void visit(OptionVisitor& v);
};

// Of one head, whose logits come level by level: the sum over levels of means. `real`: what D is to find, or G wants D
// to. Sigmoid: cross entropy, where real images are 1 - smoothing and fakes are 0.
Tensor vision_loss(const VisionAided& o, const std::vector<Tensor>& logits, bool real, bool of_g);

Method vision_aided_method();

}  // namespace firn
