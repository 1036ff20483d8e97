// Feature matching: what G makes of latents stays near what the source makes of the same ones (Lee et al. 2022, arXiv
// 2204.14079). Beside FreezeG it keeps pose and shape also in blocks that train.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct FeatureMatching {
  static constexpr std::string_view kind = "feature_matching";
  double weight = 0.05;
  std::vector<std::string> at;
  void visit(OptionVisitor& v);
};

Method feature_matching_method();

}  // namespace firn
