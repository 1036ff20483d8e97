#include "kernels/styled/modulated_conv_up.h"

#include "base/error.h"

namespace firn::kernels {

bool fits_up(const ModulatedConvProblem& p) {
  return p.K == 3 && p.H % 2 == 0 && p.W % 2 == 0 && fits(p) && p.N * p.H * p.W / 4 * p.I <= INT32_MAX &&
         p.O * 9 * p.I <= INT32_MAX && ModulatedConvUp<true>{.p = p}.shared_bytes() <= kLeastSharedLimit;
}

void modulated_conv_up(const Stream& stream, const ModulatedConvProblem& p, const Taps& f,
                       const ModulatedConvOperands& a) {
  check_operands("modulated_conv_up", p, a, fits_up(p));
  if (a.then.addend) throw ShapeError("modulated_conv_up: nothing is added here");
  if (a.s)
    run(stream, ModulatedConvUp<true>{p, f, a});
  else
    run(stream, ModulatedConvUp<false>{p, f, a});
}

}  // namespace firn::kernels
