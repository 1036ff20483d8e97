// SNGAN-projection's objective (Miyato et al. 2018, arXiv 1802.05957; Miyato & Koyama 2018, arXiv 1802.05637): G first,
// on twice the batch, then D several times, each on new reals; the hinge or the non-saturating loss.
#pragma once
#include "training/objectives/objective.h"

namespace firn {

struct SnganLoss {
  static constexpr std::string_view kind = "sngan";

  GanLoss loss = GanLoss::hinge;
  int n_dis = 5;         // steps of D an iteration
  bool average = false;  // keep an average of G's weights

  void visit(OptionVisitor& v);
};

Objective sngan_objective();

}  // namespace firn
