#include "kernels/styled/conv_down.h"

#include "base/error.h"

namespace firn::kernels {

bool fits_down(const ModulatedConvProblem& p) {
  return p.K == 3 && fits(p) && p.N * p.H * p.W * 4 * p.I <= INT32_MAX && p.O * 9 * p.I <= INT32_MAX;
}

void conv_down(const Stream& stream, const ModulatedConvProblem& p, const Taps& f, const ModulatedConvOperands& a) {
  check_operands("conv_down", p, a, fits_down(p));
  if (a.s) throw ShapeError("conv_down: the input of a filter is not scaled");
  run(stream, ConvDown{p, f, a});
}

}  // namespace firn::kernels
