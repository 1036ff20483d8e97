// MineGAN (Wang et al. 2020, arXiv 1912.05270): a small network finds the latents whose images are like the data. First
// it trains alone with D, then with G, too. Samples, measures and averages all go through it.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct MineGan {
  static constexpr std::string_view kind = "minegan";
  int steps = 1000;
  void visit(OptionVisitor& v);
};

Method minegan_method();

}  // namespace firn
