// Our kernels that do what a library could do in their place, by launch name.
#pragma once
#include <set>
#include <string>

namespace firn::kernels {

// Those that Numerics::without may name.
const std::set<std::string>& own_kernels();
// "all", or some of them with commas between; ConfigError lists them where there is no such kernel.
std::set<std::string> own_kernels(const std::string& names);

}  // namespace firn::kernels
