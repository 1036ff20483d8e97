// Elastic weight consolidation (Li et al. 2020, arXiv 2012.02780, after Kirkpatrick et al. 2017): G's weights stay near
// those that they started from, each by its Fisher information on the source.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct Ewc {
  static constexpr std::string_view kind = "ewc";
  double weight = 1000;
  int samples = 256;
  void visit(OptionVisitor& v);
};

Method ewc_method();

// Of each of G's trainable weights the mean over samples of the square of d softplus(-D(G(z))) / dw, one sample at a
// time; as `fisher`, a network of the same parameters. Others get 0.
void estimate_fisher(const Generator& g, const Discriminator& d, Generator& fisher, int samples, uint64_t seed);

}  // namespace firn
