// Cases of the modulated convolution, judged against a double-precision sum on the host.
#pragma once
#include <ostream>
#include <string>
#include <vector>

#include "kernels/modulated_conv.h"

namespace firn::tests {

struct ModulatedConvCase {
  std::string name;
  kernels::ModulatedConvProblem p;
  kernels::ConvTile tile = kernels::ConvTile::automatic;
  bool s = true, d = true, noise = true, b = true;
};

inline void PrintTo(const ModulatedConvCase& c, std::ostream* out) { *out << c.name; }

std::vector<ModulatedConvCase> modulated_conv_cases();
// One for each kernel, as small as one can be that uses all of it.
std::vector<ModulatedConvCase> smallest_modulated_conv_cases();

// Runs a case on the first GPU. The largest difference in parts of what rounding explains; infinite when anything but
// y is written.
double modulated_conv_error(const ModulatedConvCase&);

}  // namespace firn::tests
