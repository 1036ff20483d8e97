// gan-check compare: the same phases on two devices or in two types, and how far their losses and gradients are apart.
#pragma once
#include "tools/common.h"
#include "training/options/overlay.h"

namespace firn::tools {

struct CompareArguments {
  std::string snapshot, inputs, a = "cpu:f32", b;
  std::vector<std::string> phases;   // empty: all
  std::string model;                 // without a snapshot; empty: the first
  int resolution = 64, classes = 0;  // likewise
  Overlay set;                       // likewise: of the model's options
  int batch = 4, threads = 0;
  uint64_t seed = 0;
  double tolerance = -1;
  bool json = false;
};

void add_options(CLI::App& app, CompareArguments& a);
int compare(const CompareArguments& arguments);  // 1 when the tolerance is not kept

}  // namespace firn::tools
