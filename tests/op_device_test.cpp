// Every op on a GPU against double on the CPU. tests/ptx runs the same tests on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/memory.h"
#include "tests/op_check.h"

namespace firn::tests {
namespace {

struct DeviceCase {
  OpCase op;
  DType type;
};

std::vector<DeviceCase> device_cases() {
  std::vector<DeviceCase> all;
  for (const OpCase& c : op_cases())
    for (DType t : {DType::f32, DType::bf16, DType::f64})
      if (t != DType::bf16 || !c.activations.empty()) all.push_back({c, t});
  return all;
}

// As in op_test.cpp; second derivatives pass through twice as many roundings.
double tolerance(DType t) { return t == DType::f64 ? 1e-12 : t == DType::f32 ? 1e-5 : 3e-2; }

class DeviceOpTest : public testing::TestWithParam<DeviceCase> {};

TEST_P(DeviceOpTest, MatchesCpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  EXPECT_LT(precision_error(GetParam().op, GetParam().type, Device::cuda(), true), tolerance(GetParam().type));
}

INSTANTIATE_TEST_SUITE_P(Ops, DeviceOpTest, testing::ValuesIn(device_cases()), [](const auto& info) {
  return fmt::format("{}_cuda_{}", info.param.op.name, name_of(info.param.type));
});

}  // namespace
}  // namespace firn::tests
#endif
