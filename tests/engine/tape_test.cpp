// The tape's promises: what it visits, what it keeps, what it refuses.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
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

// The last layer's while the first one's are still to be computed; all of them the same bits, and each once.
TEST(Tape, TellsOfEachGradientAsSoonAsItIsThere) {
  const Tensor x = random({1, 4, 4, 2}, 1), a = random({3, 3, 3, 2}, 2).require_grad(),
               b = random({5, 3, 3, 3}, 3).require_grad(), c = random({2}, 4).require_grad();
  const Tensor layers = sum(square(conv2d(conv2d(x, a, {.pad = 1}), b, {.pad = 1}))), y = layers + sum(b);
  const std::vector<Tensor> inputs = {a, b, c};
  const auto expected = grad(y, inputs);
  std::vector<size_t> order;
  std::vector<int64_t> launches;
  LaunchCounter count;
  const auto none = grad(y, inputs, {.ready = [&](size_t i, const Tensor& g) {
                           order.push_back(i);
                           launches.push_back(count["conv_backward_weights"]);
                           EXPECT_EQ(g.to_doubles(), expected[i].to_doubles()) << i;
                         }});
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(order, (std::vector<size_t>{1, 0, 2}));
  EXPECT_EQ(launches, (std::vector<int64_t>{1, 2, 2}));
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

TEST(Tape, AnOpFindsTheGradientsOfItsInputsTogether) {
  const Tensor a = random({3}, 1).require_grad(), b = random({3}, 2).require_grad(), c = random({3}, 3);
  std::vector<Wanted> asked;
  const Tensor y = record("pair", random({3}, 4), {a, c, {}, b},
                          [&](std::vector<Tensor> parts, const Tensor&, const Wanted& wanted) -> std::vector<Tensor> {
                            asked.push_back(wanted);
                            const Tensor gy = sum_of_parts(std::move(parts));
                            return {gy * 2, {}, {}, gy * 3};
                          });
  const auto both = grad(sum(y + y), {a, b});
  EXPECT_EQ(both[0].to_doubles(), std::vector<double>(3, 4));
  EXPECT_EQ(both[1].to_doubles(), std::vector<double>(3, 6));
  EXPECT_EQ(grad(sum(y), {b})[0].to_doubles(), std::vector<double>(3, 3));
  EXPECT_EQ(asked, (std::vector<Wanted>{{true, false, false, true}, {false, false, false, true}}));
  EXPECT_EQ(grad(sum(y), {y, a})[0].to_doubles(), std::vector<double>(3, 1));
  const auto none = [](std::vector<Tensor>, const Tensor&, const Wanted&) { return std::vector<Tensor>{}; };
  EXPECT_FALSE(record("frozen", random({3}, 4), {c, {}}, none).wants_grad());
}

// Of two kinds, each of which the op below takes or leaves.
template <int kind>
struct Counted : Deferred {
  explicit Counted(int* made) : made(made) {}
  int* made;
  Tensor make() override {
    ++*made;
    return Tensor::full({3}, kind, DType::f64, Device::cpu());
  }
};

TEST(Tape, ADeferredGradientIsTakenOrMade) {
  const Tensor x = random({3}, 1).require_grad();
  int taken = 0, made = 0;
  const Tensor y = record("takes", random({3}, 2), {x},
                          [](std::vector<Tensor> parts, const Tensor&, const Wanted&) -> std::vector<Tensor> {
                            const auto found = ops::take<Counted<7>>(parts);
                            const Tensor rest = sum_of_parts(std::move(parts));
                            return {found ? rest + 100 : rest};
                          });
  const auto through = [&]<int kind>(const Tensor& input, int* made, std::integral_constant<int, kind>) {
    return record("defers", random({3}, 3), {{input, [made](const Tensor& gy, const Tensor&) {
                                                return Tensor::deferred(gy.shape(), gy.type(), gy.device(),
                                                                        std::make_shared<Counted<kind>>(made));
                                              }}});
  };
  const Tensor z =
      through(y, &taken, std::integral_constant<int, 7>{}) + through(y, &made, std::integral_constant<int, 5>{}) + y;
  EXPECT_EQ(grad(sum(z), {x})[0].to_doubles(), std::vector<double>(3, 106));
  EXPECT_EQ(taken, 0);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(grad(sum(z), {y, x})[0].to_doubles(), std::vector<double>(3, 13)) << "one that is asked for is made";
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
