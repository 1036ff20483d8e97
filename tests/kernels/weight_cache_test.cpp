// Which copies of weights are current, and where they lie (the table of weight_cache.h).
#include "kernels/conv/weight_cache.h"

#include <gtest/gtest.h>

#include <array>

namespace firn::kernels {
namespace {

constexpr ConvProblem kProblem{.I = 2, .O = 2, .KH = 1, .KW = 1, .stride = 1, .gain = 0.5, .type = DType::bf16};

class WeightCacheTest : public testing::Test {
 protected:
  // The packed copy; the test fails unless it is one of the weights of now.
  const void* packed(const ConvProblem& p = kProblem) {
    const std::shared_ptr<void> copy = cache->packed({}, p, weights.data());
    for (size_t i = 0; p.type == DType::bf16 && i < weights.size(); ++i)
      EXPECT_EQ(float(static_cast<const bf16*>(copy.get())[i]), float(p.gain) * weights[i]);
    return copy.get();
  }
  // As somebody does who knows nothing of copies.
  void write(float by) {
    for (float& w : weights) w += by;
    cache->written();
  }
  // As the optimiser does.
  void optimise() {
    write(1);
    if (const auto [data, gain] = cache->rewritten(); data)
      for (size_t i = 0; i < weights.size(); ++i) data[i] = bf16(gain * weights[i]);
  }
  int made_of(const std::function<void()>& f) {
    const LaunchCounter counter;
    f();
    return static_cast<int>(counter["repack_weights"]);
  }

  std::array<float, 4> weights{1, 2, 3, 4};
  std::shared_ptr<WeightCache> cache = std::make_shared<WeightCache>();
};

TEST_F(WeightCacheTest, AnEntryIsMadeOncePerWriteAndPerEpoch) {
  EXPECT_EQ(made_of([&] { packed(), packed(); }), 1);
  write(1);
  EXPECT_EQ(made_of([&] { packed(), packed(); }), 1);
  forget_weight_caches();
  EXPECT_EQ(made_of([&] { packed(), packed(); }), 1);
  EXPECT_EQ(cache->rewritten().data, nullptr) << "no optimiser was announced";
}

TEST_F(WeightCacheTest, TheOptimiserKeepsTheRoundedCopyCurrentWhereItLies) {
  cache->expect_optimizer();
  const void* const first = packed();
  EXPECT_EQ(made_of([&] {
              optimise();
              EXPECT_EQ(packed(), first);
              forget_weight_caches();
              EXPECT_EQ(packed(), first);
            }),
            0);
  write(1);
  EXPECT_EQ(made_of([&] { EXPECT_EQ(packed(), first); }), 1) << "somebody else wrote the weights";
  write(1);
  EXPECT_EQ(made_of([&] { cache->refresh(), cache->refresh(); }), 1);
  EXPECT_EQ(made_of([&] { EXPECT_EQ(packed(), first); }), 0);
}

TEST_F(WeightCacheTest, OtherFormsAreNotTheOptimisers) {
  cache->expect_optimizer();
  packed();
  optimise();
  ConvProblem wide = kProblem, other = kProblem;
  wide.type = DType::f32;
  other.gain = 2;
  EXPECT_EQ(made_of([&] { packed(wide), packed(other); }), 2);
  optimise();
  EXPECT_EQ(made_of([&] { packed(wide), packed(other), packed(); }), 2);
}

TEST_F(WeightCacheTest, WhatIsMadeInAScopeEndsWithIt) {
  cache->expect_optimizer();
  const auto entry = [&] { return cache->entry("name", [] { return std::make_shared<int>(1); }); };
  packed();
  std::weak_ptr<void> before = entry(), inside;
  {
    const WeightCacheScope scope;
    EXPECT_EQ(made_of([&] { packed(); }), 1) << "nothing of before is used";
    EXPECT_TRUE(before.expired());
    inside = entry();
    ASSERT_EQ(scope.used().size(), 1u);
    EXPECT_EQ(scope.used()[0].lock(), cache);
    scope.drop();
    EXPECT_TRUE(inside.expired());
  }
  EXPECT_EQ(made_of([&] { packed(); }), 1);
}

TEST_F(WeightCacheTest, AKeptCopyIsUsedInAScopeToo) {
  cache->expect_optimizer();
  const void* const first = packed();
  optimise();
  const WeightCacheScope scope;
  EXPECT_EQ(made_of([&] { EXPECT_EQ(packed(), first); }), 0);
  EXPECT_EQ(scope.used().size(), 1u) << "a replay has to refresh it";
}

}  // namespace
}  // namespace firn::kernels
