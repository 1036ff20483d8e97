// Cases of the modulated convolution, judged against a double-precision sum on the host.
#pragma once
#include <ostream>
#include <string>
#include <vector>

#include "kernels/styled/modulated_conv.h"

namespace firn::tests {

struct ModulatedConvCase {
  std::string name;
  kernels::ModulatedConvProblem p;
  kernels::ConvTile tile = kernels::ConvTile::automatic;
  bool s = true, d = true, noise = true, b = true, addend = false;
  bool noise_for_all = false, linear = false, clamped = true;
  bool recorded = false;                         // as a CUDA graph
  enum { same, same_sm90, up, down } by = same;  // which kernel; its name is kernel()
  int outputs = 0;                               // of a tile on sm_90
  const char* kernel() const;
};

inline void PrintTo(const ModulatedConvCase& c, std::ostream* out) { *out << c.name; }

// Each for both kernels.
std::vector<ModulatedConvCase> modulated_conv_cases();
// One for each kernel, as small as one can be that uses all of it.
std::vector<ModulatedConvCase> smallest_modulated_conv_cases();

// What tensor cores may lose of a sum of so many products, in parts of the sum of their sizes: each step of 16 cuts off
// up to 2^-23 of what there is, and a float's epilogue rounds a few times.
double sum_error(int64_t terms);

// y of a plain convolution on the first GPU: x [N,H,W,I], w [O,K,K,I].
std::vector<bf16> plain_conv(const kernels::ModulatedConvProblem&, const std::vector<bf16>& x,
                             const std::vector<bf16>& w);

// Runs a case on the first GPU. The largest difference in parts of what rounding explains; infinite when anything but
// y is written.
double modulated_conv_error(const ModulatedConvCase&);

}  // namespace firn::tests
