// Feature distillation: what D makes of the reals stays near what it made of them before training.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct Distill {
  static constexpr std::string_view kind = "distill";
  double weight = 1;
  std::vector<std::string> at;
  void visit(OptionVisitor& v);
};

Method distill_method();

}  // namespace firn
