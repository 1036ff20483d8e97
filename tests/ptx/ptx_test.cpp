// That the interpreter sees all of the project's device code, and that what it checks would be missed if it were wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/choice/provider_numerics.h"
#include "tests/engine/op_check.h"
#include "tests/kernels/modulated_conv_check.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/runtime.h"

namespace firn::tests {
namespace {

// What runs a kernel and says how wrong the result is, in parts of what rounding explains.
struct Use {
  std::function<double()> error;
  bool in_float = false;
  int launches = 0;  // of all kernels
};
using Uses = std::vector<Use>;

// What runs each kernel, that which launches least first, found by running all of it. What serves the tests of single
// instructions has none.
const std::map<std::string, Uses>& uses() {
  static const std::map<std::string, Uses> found = [] {
    std::map<std::string, Uses> map;
    const auto add = [&](Use use) {
      std::set<std::string> names;
      ptx::on_launch([&](const ptx::Kernel& k) { names.insert(k.name), ++use.launches; });
      EXPECT_LE(use.error(), 1);
      for (const std::string& name : names) map[name].push_back(use);
    };
    for (const OpCase& c : small_op_cases())
      for (DType t : {DType::f32, DType::bf16, DType::f64})
        if (t != DType::bf16 || !c.activations.empty())
          add({[c, t, tolerance = device_tolerance(c, t)] {
                 return precision_error(c, t, Device::cuda(), true) / tolerance;
               },
               t == DType::f32});
    for (const ModulatedConvCase& c : smallest_modulated_conv_cases()) add({[c] { return modulated_conv_error(c); }});
    ptx::on_launch({});
    for (auto& [name, all] : map) std::ranges::stable_sort(all, {}, &Use::launches);
    return map;
  }();
  return found;
}

// Calls f(name, uses, instruction) for the instructions of all kernels that have a use.
template <class F>
void for_instructions(F f) {
  for (const ptx::Kernel& k : ptx::kernels())
    if (const auto use = uses().find(k.name); use != uses().end())
      for (int i = k.function->first; i < k.function->last; ++i)
        f(k.name, use->second, k.module->code[static_cast<size_t>(i)]);
}

// Runs a kernel with one instruction changed. What the changed one never executes says nothing about it; the error of a
// run that the checker stops counts as infinite.
enum class Fate { never_ran, caught, survived };
Fate fate_of(ptx::Instruction& in, const ptx::Instruction& mutant, const Use& use) {
  const ptx::Instruction whole = in;
  bool ran = false;
  ptx::finish();  // of others, before the change and with it
  in = mutant;
  in.step = [&ran, step = mutant.step](ptx::Warp& w, uint32_t lanes) {
    ran = true;
    step(w, lanes);
  };
  double error = INFINITY;
  try {
    error = use.error();
  } catch (const Error&) {
  }
  ptx::finish();
  in = whole;
  ptx::take_findings();
  return !ran ? Fate::never_ran : error <= 1 ? Fate::survived : Fate::caught;
}

// What survives the first use may be caught by another: one that tells it from the true one is enough.
Fate fate_of(ptx::Instruction& in, const ptx::Instruction& mutant, const Uses& all) {
  const Fate first = fate_of(in, mutant, all.front());
  if (first != Fate::survived) return first;
  const auto catches = [&](const Use& use) { return fate_of(in, mutant, use) == Fate::caught; };
  return std::any_of(all.begin() + 1, all.end(), catches) ? Fate::caught : Fate::survived;
}

// How many were caught of the instructions that `wanted` names, each left out in turn.
template <class F>
int caught_without(F wanted) {
  int caught = 0;
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    if (!wanted(in)) return;
    ptx::Instruction without = in;
    without.flow = ptx::Instruction::Flow::next;
    without.step = [](ptx::Warp&, uint32_t) {};
    const Fate fate = fate_of(in, without, all);
    EXPECT_NE(fate, Fate::survived) << kernel << " runs without " << in.mnemonic << " of PTX line " << in.line;
    caught += fate == Fate::caught;
  });
  return caught;
}

// Without a barrier, a kernel must race or give a wrong result.
TEST(Ptx, EveryBarrierIsNeeded) {
  EXPECT_GT(caught_without([](const ptx::Instruction& in) { return in.flow == ptx::Instruction::Flow::block_barrier; }),
            20);
}

// Without a group or a wait, something is read before its copy has arrived.
TEST(Ptx, EveryWaitForACopyIsNeeded) {
  EXPECT_GT(caught_without([](const ptx::Instruction& in) {
              return in.mnemonic.starts_with("cp.async.wait") || in.mnemonic.starts_with("cp.async.commit");
            }),
            20);
}

// Without an arrival, a wait or a fence of the asynchronous instructions of sm_90a, or without one of these themselves,
// a kernel waits for ever, touches what is on its way, or gives a wrong result.
TEST(Ptx, EveryAsynchronousStepIsNeeded) {
  EXPECT_GT(caught_without([](const ptx::Instruction& in) {
              for (const char* start : {"mbarrier.", "fence.", "cp.async.bulk.", "wgmma."})
                if (in.mnemonic.starts_with(start)) return true;
              return false;
            }),
            200);
}

// What the warps of a warpgroup do together, one of them leaves out: one of each kind in each kernel.
TEST(Ptx, AWarpThatPartsFromItsWarpgroupIsCaught) {
  std::set<std::string> tried;
  int caught = 0;
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    const bool together = in.mnemonic.starts_with("wgmma.") || in.mnemonic.starts_with("setmaxnreg.");
    if (!together || !tried.insert(kernel + in.mnemonic).second) return;
    ptx::Instruction without = in;
    without.step = [step = in.step](ptx::Warp& w, uint32_t lanes) {
      if (w.actor(0).thread / 32 % 4 != 3) step(w, lanes);
    };
    const Fate fate = fate_of(in, without, all);
    EXPECT_EQ(fate, Fate::caught) << kernel << ": " << in.mnemonic;
    caught += fate == Fate::caught;
  });
  EXPECT_EQ(caught, 9 * 6);
}

// Registers that a warpgroup does not give up, or that the other would need: the block has no more than it started
// with.
TEST(Ptx, RegistersHandedOnAreThere) {
  int caught = 0;
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    if (!in.mnemonic.starts_with("setmaxnreg.")) return;
    ptx::Instruction more = in;
    more.operands[0].value += 8;
    ptx::bind(more);
    const Fate fate = fate_of(in, more, all);
    EXPECT_EQ(fate, Fate::caught) << kernel << ": " << in.mnemonic;
    caught += fate == Fate::caught;
  });
  EXPECT_EQ(caught, 9 * 2);
}

// Tiles that lie one off in a dimension.
TEST(Ptx, ShiftedCoordinatesAreCaught) {
  int caught = 0;
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    if (!in.mnemonic.starts_with("cp.async.bulk.tensor.")) return;
    for (size_t i = 0; i < in.operands[1].list.size(); ++i) {
      ptx::Instruction shifted = in;
      ++shifted.operands[1].list[i].offset;
      ptx::bind(shifted);
      const Fate fate = fate_of(in, shifted, all);
      EXPECT_EQ(fate, Fate::caught) << kernel << ": " << in.mnemonic << ", coordinate " << i;
      caught += fate == Fate::caught;
    }
  });
  EXPECT_GT(caught, 50);
}

// An index that is off by one must leave the allocation, race, or give a wrong result.
TEST(Ptx, EveryAccessOffByOneIsCaught) {
  int caught = 0;
  std::map<std::string, int> tried;  // some accesses of each kind in each kernel
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    const bool load = in.mnemonic.starts_with("ld.global"), store = in.mnemonic.starts_with("st.global");
    int& times = tried[kernel + in.mnemonic];
    if (!all.front().in_float || (!load && !store) || !in.mnemonic.ends_with(".f32") || times == 3) return;
    ptx::Instruction shifted = in;
    shifted.operands[load ? 1 : 0].offset += 4;
    ptx::bind(shifted);
    const Fate fate = fate_of(in, shifted, all);
    EXPECT_NE(fate, Fate::survived) << kernel << ": PTX line " << in.line << " may be off by one";
    times += fate != Fate::never_ran;
    caught += fate == Fate::caught;
  });
  EXPECT_GT(caught, 20);
}

// Two registers of a fragment exchanged, in one fragment of each mma, wgmma and ldmatrix: which ones takes turns.
TEST(Ptx, SwappedFragmentRegistersAreCaught) {
  int caught = 0;
  size_t turn = 0;
  for_instructions([&](const std::string& kernel, const Uses& all, ptx::Instruction& in) {
    size_t fragments = 0;
    for (const auto& [start, count] : {std::pair{"mma.", 4}, {"wgmma.mma", 2}, {"ldmatrix.", 1}})
      if (in.mnemonic.starts_with(start)) fragments = static_cast<size_t>(count);
    if (fragments == 0) return;
    ptx::Instruction swapped = in;
    const size_t fragment = turn % fragments;
    std::vector<ptx::Operand>& list = swapped.operands[fragment].list;
    ASSERT_GE(list.size(), 2u);
    const size_t a = turn / 4 % list.size(), b = (a + 1) % list.size();
    ASSERT_NE(list[a].reg, list[b].reg);
    std::swap(list[a], list[b]);
    ptx::bind(swapped);
    const Fate fate = fate_of(in, swapped, all);
    EXPECT_EQ(fate, Fate::caught) << kernel << ": " << in.mnemonic << " of PTX line " << in.line << ", fragment "
                                  << fragment << ", registers " << a << " and " << b;
    caught += fate == Fate::caught;
    ++turn;
  });
  EXPECT_GT(caught, 100);
}

// Libraries would look for a real GPU. After all tests: which kernels none of them has executed.
class EveryKernelRuns : public testing::Environment {
  void SetUp() override { kernels::initial_numerics().libraries = false; }
  void TearDown() override {
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    if (all.test_to_run_count() < all.total_test_count()) return;
    for (const ptx::Kernel& k : ptx::kernels()) EXPECT_TRUE(ptx::executed().contains(k.name)) << k.name << " never ran";
  }
};
const auto* const environment = testing::AddGlobalTestEnvironment(new EveryKernelRuns);

}  // namespace
}  // namespace firn::tests
