// StyleGAN2's objective (Karras et al. 2020, arXiv 1912.04958): non-saturating logistic loss, lazy R1, lazy path-length
// regularisation, style mixing; the configurations of arXiv 2006.06676.
#pragma once
#include "training/objectives/objective.h"

namespace firn {

struct StyleGan2Loss {
  static constexpr std::string_view kind = "stylegan2";

  GanLoss loss = GanLoss::non_saturating;
  double r1_gamma = 1;
  double pl_weight = 2, pl_decay = 0.01;
  double style_mixing = 0.9;                    // probability, per batch
  int g_reg_interval = 4, d_reg_interval = 16;  // gain of the lazy terms; 0: the phase never runs

  void visit(OptionVisitor& v);
};

Objective stylegan2_objective();

}  // namespace firn
