#include "kernels/styled/own_kernels.h"

#include <sstream>

#include "base/error.h"
#include "kernels/styled/conv_down.h"
#include "kernels/styled/modulated_conv_sm90.h"
#include "kernels/styled/modulated_conv_up.h"

namespace firn::kernels {

const std::set<std::string>& own_kernels() {
  static const std::set<std::string> all{ModulatedConv<128, 128, Scales::none>::name,
                                         ModulatedConvSm90<64, Scales::none>::name, ModulatedConvUp<true>::name,
                                         ConvDown::name};
  return all;
}

std::set<std::string> own_kernels(const std::string& names) {
  if (names == "all") return own_kernels();
  std::set<std::string> some;
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');) {
    if (!own_kernels().contains(name)) {
      std::string known;
      for (const std::string& k : own_kernels()) known += (known.empty() ? "" : ", ") + k;
      throw ConfigError(fmt::format("--no-own-kernels {}: there are {}", name, known));
    }
    some.insert(name);
  }
  return some;
}

}  // namespace firn::kernels
