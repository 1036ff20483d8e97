// That the interpreter sees all of the project's device code, and that what it checks would be missed if it were wrong.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "tests/op_check.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/runtime.h"

namespace firn::tests {
namespace {

// Which op case launches a kernel first, found by running all of them.
struct Use {
  const OpCase* op;
  DType type;
};

const std::map<std::string, Use>& uses() {
  static const std::map<std::string, Use> found = [] {
    std::map<std::string, Use> map;
    for (const OpCase& c : op_cases())
      for (DType t : {DType::f32, DType::bf16, DType::f64}) {
        if (t == DType::bf16 && c.activations.empty()) continue;
        ptx::on_launch([&](const ptx::Kernel& k) { map.try_emplace(k.name, Use{&c, t}); });
        precision_error(c, t, Device::cuda(), true);
      }
    ptx::on_launch({});
    return map;
  }();
  return found;
}

// The error of a run that the checker stops counts as infinite.
double error_of(const Use& use) {
  try {
    return precision_error(*use.op, use.type, Device::cuda(), true);
  } catch (const Error&) {
    return INFINITY;
  }
}

TEST(Ptx, EveryKernelOfTheOpsRuns) {
  uses();
  for (const ptx::Kernel& k : ptx::kernels()) EXPECT_TRUE(ptx::executed().contains(k.name)) << k.name << " never ran";
}

// Without a barrier, a kernel must race or give a wrong result.
TEST(Ptx, EveryBarrierIsNeeded) {
  int barriers = 0;
  for (const ptx::Kernel& k : ptx::kernels()) {
    const auto use = uses().find(k.name);
    if (use == uses().end()) continue;
    for (int i = k.function->first; i < k.function->last; ++i) {
      ptx::Instruction& in = k.module->code[static_cast<size_t>(i)];
      if (in.flow != ptx::Instruction::Flow::block_barrier) continue;
      ++barriers;
      const ptx::Instruction whole = in;
      in.flow = ptx::Instruction::Flow::next;
      in.step = [](ptx::Warp&, uint32_t) {};
      EXPECT_EQ(error_of(use->second), INFINITY) << k.name << " runs without the barrier of PTX line " << in.line;
      in = whole;
      ptx::take_findings();
    }
  }
  EXPECT_GT(barriers, 0);
}

}  // namespace
}  // namespace firn::tests
