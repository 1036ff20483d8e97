// Projected GANs (Sauer et al. 2021, arXiv 2111.01007): in place of D one that judges maps of a frozen network. The
// run's losses and its augmentation are that D's.
#pragma once
#include "training/methods/method.h"

namespace firn {

enum class DKind { own, projected };

struct Projected {
  static constexpr std::string_view kind = "projected";
  DKind d = DKind::own;
  std::string network = "efficientnet-lite1";
  std::string hash;  // SHA-256 of its weights
  int size = 0;      // rows of the images that it is given; 0: as many as it was made for
  int width = 64;    // channels of the largest map that it judges
  void visit(OptionVisitor& v);
};

Method projected_method();

}  // namespace firn
