// L2-SP (Li et al. 2018, arXiv 1802.01483): weights stay near those that they started from.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct L2Sp {
  static constexpr std::string_view kind = "l2_sp";
  double weight = 1;
  std::string on = "gd";
  void visit(OptionVisitor& v);
};

Method l2_sp_method();

// Sum over tensors of the mean of (now - then)^2, of weights as they are stored; frozen ones do not count.
Tensor distance(const Parameters& now, const Parameters& then);

}  // namespace firn
