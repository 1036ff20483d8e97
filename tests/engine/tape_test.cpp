// The tape's promises: what it visits, what it keeps, what it refuses.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/ops.h"
#include "kernels/device/memory.h"

namespace firn {
namespace {

Tensor random(Shape shape, uint64_t seed, DType type = DType::f64) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, type, Device::cpu());
}

TEST(Tape, FrozenInputKeepsNoClosure) {
  const Tensor x = random({2, 3}, 1).require_grad(), w = random({4, 3}, 2);
  const Tensor y = matmul(x, w, {.trans_b = true});
  EXPECT_EQ(y.node()->edges.size(), 1u);
  EXPECT_FALSE(matmul(x.detach(), w, {.trans_b = true}).wants_grad());
}

TEST(Tape, GradVisitsOnlyWhatLeadsToItsInputs) {
  const Tensor x = random({1, 4, 4, 2}, 1).require_grad(), w = random({3, 3, 3, 2}, 2).require_grad();
  const Tensor y = sum(conv2d(x, w, {.pad = 1}));
  LaunchCounter count;
  grad(y, {x});
  EXPECT_EQ(count["conv_backward_weights"], 0);
  EXPECT_EQ(count["conv_backward_data"], 1);
  grad(y, {w});
  EXPECT_EQ(count["conv_backward_weights"], 1);
  EXPECT_EQ(count["conv_backward_data"], 1);
}

TEST(Tape, GradientOfAnUnrelatedInputIsZero) {
  const Tensor x = random({3}, 1).require_grad(), z = random({2}, 2).require_grad();
  const auto g = grad(sum(square(x)), {z});
  EXPECT_EQ(g[0].to_doubles(), (std::vector<double>{0, 0}));
  EXPECT_THROW(grad(sum(square(x.detach())), {z}), Error);
}

TEST(Tape, SharedInputSumsItsGradients) {
  const Tensor x = random({3}, 1).require_grad();
  const auto g = grad(sum(x * x + x), {x})[0].to_doubles();
  const auto v = x.to_doubles();
  for (size_t i = 0; i < v.size(); ++i) EXPECT_DOUBLE_EQ(g[i], 2 * v[i] + 1);
}

TEST(Tape, ThirdDerivativeOfTheCube) {
  const Tensor x = Tensor::full({1}, 2.0, DType::f64, Device::cpu()).require_grad();
  const Tensor y = x * x * x;
  const Tensor g = grad(y, {x}, {.create_graph = true})[0];
  const Tensor gg = grad(g, {x}, {.create_graph = true})[0];
  EXPECT_DOUBLE_EQ(g.item(), 12);
  EXPECT_DOUBLE_EQ(gg.item(), 12);
  EXPECT_DOUBLE_EQ(grad(gg, {x})[0].item(), 6);
}

TEST(Tape, NoGradRecordsNothing) {
  const Tensor x = random({3}, 1).require_grad();
  NoGrad inference;
  EXPECT_FALSE(square(x).wants_grad());
}

TEST(Tape, HistoryDiesWithItsResult) {
  const size_t before = kernels::memory_use().live;
  {
    const Tensor x = random({64, 64}, 1).require_grad();
    Tensor y = x;
    for (int i = 0; i < 10; ++i) y = tanh(y);
    grad(grad(sum(y), {x}, {.create_graph = true})[0], {x});
  }
  EXPECT_EQ(kernels::memory_use().live, before);
}

TEST(Tape, ActivationsThatNoGradientReadsAreFreed) {
  const Tensor x = random({1, 16, 16, 16}, 1).require_grad();
  const size_t before = kernels::memory_use().live;
  Tensor y = x;
  for (int i = 0; i < 8; ++i) y = affine(y, 1.5, 0);  // linear: backward needs no value
  EXPECT_LE(kernels::memory_use().live - before, 2 * 16 * 16 * 16 * sizeof(double));
}

TEST(Ops, MismatchedShapesNameTheOpAndBothShapes) {
  try {
    matmul(random({2, 3}, 1), random({4, 5}, 2));
    FAIL() << "expected ShapeError";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("matmul: [2,3]"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("[4,5]"), std::string::npos);
  }
  EXPECT_THROW(conv2d(random({1, 4, 4, 2}, 1), random({3, 3, 3, 4}, 2)), ShapeError);
  EXPECT_THROW(add(random({2}, 1), random({3}, 1)), ShapeError);
  EXPECT_THROW(upfirdn2d(random({4, 4}, 1), {}), ShapeError);
  EXPECT_THROW(Device::from_name("gpu"), ConfigError);
}

}  // namespace
}  // namespace firn
