// Scale and shift (Noguchi & Harada 2019, arXiv 1904.01774): of G, only what scales and shifts normalised features
// trains: batch norm's gamma and beta. A StyleGAN2 has the affine layers of styles for it, or scales behind the
// demodulation and the biases, which begin where they change nothing.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct ScaleShift {
  static constexpr std::string_view kind = "scale_shift";
  std::string on = "styles";
  void visit(OptionVisitor& v);
};

Method scale_shift_method();

}  // namespace firn
