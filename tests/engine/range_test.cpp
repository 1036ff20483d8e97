// Which names a profiler sees: a build with CUDA is given a profiler of its own, linked in, that writes them down.
#include "engine/range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/models/stylegan2_support.h"

#ifdef FIRN_CUDA
#include <nvtx3/nvToolsExt.h>

namespace {

std::vector<std::string> begun;
int open_ranges = 0;

int on_push(const char* name) {
  begun.push_back(name);
  return open_ranges++;
}
int on_pop() { return --open_ranges; }

template <class F>
void hook(NvtxFunctionTable table, unsigned size, int index, F function) {
  if (unsigned(index) < size) *table[index] = reinterpret_cast<NvtxFunctionPointer>(function);
}

int inject(NvtxGetExportTableFunc_t export_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size)) return 0;
  hook(table, size, NVTX_CBID_CORE_RangePushA, on_push);
  hook(table, size, NVTX_CBID_CORE_RangePop, on_pop);
  return 1;
}

}  // namespace

// NVTX looks here when the first range of the program begins: that is after this file's variables have their values.
const bool injected = (InitializeInjectionNvtx2_fnptr = inject) != nullptr;

namespace firn {
namespace {

bool was_begun(const std::string& name) { return std::ranges::find(begun, name) != begun.end(); }

TEST(Range, EveryLayerAndEveryOpOfBackwardHasAName) {
  const StyleGan2Options o = small_stylegan2(2);
  const StyleGan2Generator g(o, cpu);
  const StyleGan2Discriminator d(o, cpu);
  ASSERT_TRUE(injected);
  begun.clear();
  const Tensor images = g.synthesize(g.broadcast(g.map(normal({2, 16}, 1), {})), NoiseMode::constant);
  const Tensor loss = mean(softplus(-d(images)));
  for (const char* name : {"G.mapping", "mapping.fc1", "G.b4.conv1", "G.b8.conv0", "G.b32.conv1", "G.b32.torgb",
                           "D.b32.fromrgb", "D.b32.conv0", "D.b8.conv1", "D.b8.skip", "D.b4.conv", "D.b4.fc"})
    EXPECT_TRUE(was_begun(name)) << name;
  EXPECT_FALSE(was_begun("grad.conv2d"));
  grad(loss, g.parameters().trainable().tensors());
  for (const char* name : {"grad.conv2d", "grad.bias_act", "grad.upfirdn2d"}) EXPECT_TRUE(was_begun(name)) << name;
  EXPECT_EQ(open_ranges, 0);
}

}  // namespace
}  // namespace firn

#else

namespace firn {
namespace {

// Nothing to keep and nothing to do at the end of a scope: the compiler drops it.
TEST(Range, IsEmptyWithoutCuda) {
  EXPECT_TRUE(std::is_empty_v<Range>);
  EXPECT_TRUE(std::is_trivially_destructible_v<Range>);
}

}  // namespace
}  // namespace firn

#endif
