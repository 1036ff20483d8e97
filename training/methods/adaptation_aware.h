// Adaptation-aware kernel modulation (AdAM: Zhao et al. 2022, arXiv 2210.16559). The filters that matter most to the
// adaptation are kept: frozen, and only modulated by W (1 + out x in), of rank one; all others train. Which matter is
// found by probing: for a short time the source adapts by modulation alone, and Fisher information of that decides.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct AdaptationAware {
  static constexpr std::string_view kind = "adaptation_aware";
  double probe_kimg = 2;          // as published, 500 iterations of 4 images
  double quantile = 50;           // percent of each network's filters that train, as in the published code
  std::vector<std::string> kept;  // what was chosen, as --freeze would name it; empty: nothing yet
  void visit(OptionVisitor& v);
};

Method adaptation_aware_method();

// Those of `information` beyond the quantile (percent), at least one: how many, and of equals the first.
std::vector<size_t> most_informative(const std::vector<double>& information, double quantile);

}  // namespace firn
