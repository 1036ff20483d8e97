// gan-check compare: the same phases on two devices or in two types, and how far their losses and gradients are apart.
#pragma once
#include "models/stylegan2.h"
#include "tools/common.h"

namespace firn::tools {

struct CompareArguments {
  std::string snapshot, inputs, a = "cpu:f32", b;
  std::vector<std::string> phases{"Gmain", "Greg", "Dmain", "Dreg"};
  StyleGan2Options model;  // without a snapshot
  int batch = 4, threads = 0;
  uint64_t seed = 0;
  double tolerance = -1;
  bool json = false;
};

void add_options(CLI::App& app, CompareArguments& a);
int compare(const CompareArguments& arguments);  // 1 when the tolerance is not kept

}  // namespace firn::tools
