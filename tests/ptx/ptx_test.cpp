// That the interpreter sees all of the project's device code, and that what it checks would be missed if it were wrong.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"
#include "kernels/provider_numerics.h"
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
    static const std::vector<OpCase> ops = small_op_cases();
    for (const OpCase& c : ops)
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

// Runs an op with one instruction changed. What the changed one never executes says nothing about it.
enum class Fate { never_ran, caught, survived };
Fate fate_of(ptx::Instruction& in, const ptx::Instruction& mutant, const Use& use) {
  const ptx::Instruction whole = in;
  bool ran = false;
  in = mutant;
  in.step = [&ran, step = mutant.step](ptx::Warp& w, uint32_t lanes) {
    ran = true;
    step(w, lanes);
  };
  const double tolerance = std::max(1e-5, 4 * precision_error(*use.op, use.type, Device::cpu(), true));
  const double error = error_of(use);
  in = whole;
  ptx::take_findings();
  return !ran ? Fate::never_ran : error > tolerance ? Fate::caught : Fate::survived;
}

// Without a barrier, a kernel must race or give a wrong result.
TEST(Ptx, EveryBarrierIsNeeded) {
  int caught = 0;
  for (const ptx::Kernel& k : ptx::kernels()) {
    const auto use = uses().find(k.name);
    if (use == uses().end()) continue;
    for (int i = k.function->first; i < k.function->last; ++i) {
      ptx::Instruction& in = k.module->code[static_cast<size_t>(i)];
      if (in.flow != ptx::Instruction::Flow::block_barrier) continue;
      ptx::Instruction without = in;
      without.flow = ptx::Instruction::Flow::next;
      without.step = [](ptx::Warp&, uint32_t) {};
      const Fate fate = fate_of(in, without, use->second);
      EXPECT_NE(fate, Fate::survived) << k.name << " runs without the barrier of PTX line " << in.line;
      caught += fate == Fate::caught;
    }
  }
  EXPECT_GT(caught, 0);
}

// An index that is off by one must leave the allocation, race, or give a wrong result.
TEST(Ptx, EveryAccessOffByOneIsCaught) {
  int caught = 0;
  for (const ptx::Kernel& k : ptx::kernels()) {
    const auto use = uses().find(k.name);
    if (use == uses().end() || use->second.type != DType::f32) continue;
    std::map<std::string, int> tried;  // some accesses of each kind
    for (int i = k.function->first; i < k.function->last; ++i) {
      ptx::Instruction& in = k.module->code[static_cast<size_t>(i)];
      const bool load = in.mnemonic.starts_with("ld.global"), store = in.mnemonic.starts_with("st.global");
      if ((!load && !store) || !in.mnemonic.ends_with(".f32") || tried[in.mnemonic] == 3) continue;
      ptx::Instruction shifted = in;
      shifted.operands[load ? 1 : 0].offset += 4;
      ptx::bind(shifted);
      const Fate fate = fate_of(in, shifted, use->second);
      EXPECT_NE(fate, Fate::survived) << k.name << ": PTX line " << in.line << " may be off by one";
      tried[in.mnemonic] += fate != Fate::never_ran;
      caught += fate == Fate::caught;
    }
  }
  EXPECT_GT(caught, 20);
}

// Libraries would look for a real GPU. After all tests: which kernels none of them has executed.
class EveryKernelRuns : public testing::Environment {
  void SetUp() override { kernels::numerics().libraries = false; }
  void TearDown() override {
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    if (all.test_to_run_count() < all.total_test_count()) return;
    for (const ptx::Kernel& k : ptx::kernels()) EXPECT_TRUE(ptx::executed().contains(k.name)) << k.name << " never ran";
  }
};
const auto* const environment = testing::AddGlobalTestEnvironment(new EveryKernelRuns);

}  // namespace
}  // namespace firn::tests
