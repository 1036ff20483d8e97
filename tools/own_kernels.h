// --no-own-kernels, for every program that computes: which of our kernels libraries stand in for.
#pragma once
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/styled/own_kernels.h"

namespace firn::tools {

inline CLI::Option* add_no_own_kernels(CLI::App& app) {
  const auto leave_out = [](const std::string& names) {
    try {
      kernels::initial_numerics().without = kernels::own_kernels(names.empty() ? "all" : names);
    } catch (const ConfigError& e) {
      throw CLI::ValidationError(e.what());
    }
  };
  std::string all;
  for (const std::string& name : kernels::own_kernels()) all += (all.empty() ? "" : ", ") + name;
  return app
      .add_option_function<std::string>(
          "--no-own-kernels", leave_out,
          "a GPU's libraries instead of our tensor-core kernels, of all or of some: " + all)
      ->expected(0, 1)
      ->type_name("[NAME,...]")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

}  // namespace firn::tools
