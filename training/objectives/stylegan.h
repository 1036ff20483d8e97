// StyleGAN's objective as FreezeD adapts it (Mo et al. 2020, arXiv 2002.10964): the non-saturating loss with R1 at each
// step of D, which comes first; styles are not mixed, and the mapping network learns at a hundredth of the rate.
#pragma once
#include "training/objectives/objective.h"

namespace firn {

struct StyleGanLoss {
  static constexpr std::string_view kind = "stylegan";

  GanLoss loss = GanLoss::non_saturating;
  double r1_gamma = 10;
  double style_mixing = 0;  // probability, per batch
  double growth_kimg = 0;   // that each size is faded in for, and stays for; 0: all are there from the start

  void visit(OptionVisitor& v);
};

Objective stylegan_objective();

}  // namespace firn
