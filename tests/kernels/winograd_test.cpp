// Our Winograd convolutions against the definition.
#include "kernels/conv/winograd.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <random>

#include "kernels/conv/weight_cache.h"
#include "tests/kernels/conv_case.h"

namespace firn {
namespace {

using kernels::Epilogue;
using kernels::WeightCache;
using namespace tests;

ConvProblem problem(int64_t N, int64_t H, int64_t W, int64_t I, int64_t O, DType type = DType::f32,
                    bool swapped = false, int pad_y = 1, int pad_x = 1) {
  return {.N = N,
          .H = H,
          .W = W,
          .I = I,
          .OH = H + 2 * pad_y - 2,
          .OW = W + 2 * pad_x - 2,
          .O = O,
          .KH = 3,
          .KW = 3,
          .stride = 1,
          .pad_y = pad_y,
          .pad_x = pad_x,
          .swapped = swapped,
          .gain = 0.5,
          .type = type};
}

void expect_all_passes(const Case& c) {
  WeightCache cache;
  Tensor y = c.small.like(), gx = c.big.like(), gw = c.w.like();
  kernels::winograd_forward(kCpu, c.p, {}, y.mutable_data(), c.big.data(), nullptr, c.w.data(), cache);
  kernels::winograd_backward_data(kCpu, c.p, gx.mutable_data(), c.small.data(), c.w.data(), cache);
  kernels::winograd_backward_weights(kCpu, c.p, gw.mutable_data(), c.big.data(), c.small.data());
  EXPECT_LT(relative_error(y, c.expected_forward(wide(c.big))), c.tolerance()) << "output " << c.describe();
  EXPECT_LT(relative_error(gx, c.expected_backward_data()), c.tolerance()) << "input gradient " << c.describe();
  EXPECT_LT(relative_error(gw, c.expected_backward_weights()), kMostError) << "weight gradient " << c.describe();
}

TEST(Winograd, AgreesWithTheDefinitionOnFuzzedShapes) {
  std::mt19937_64 random(7);
  const auto between = [&](int64_t a, int64_t b) { return a + int64_t(random() % uint64_t(b - a + 1)); };
  for (const CpuTarget target : targets()) {
    const CpuTargetScope scope(target);
    for (int i = 0; i < 24; ++i) {
      const int64_t H = between(1, 13), W = between(1, 13);
      const auto pad = [&](int64_t side) { return int(between(side == 1 ? 1 : 0, 2)); };
      const ConvProblem p = problem(between(1, 3), H + 1, W + 1, between(1, 70), between(1, 70),
                                    i % 3 == 2 ? DType::bf16 : DType::f32, random() % 2 == 0, pad(H), pad(W));
      SCOPED_TRACE(name_of(target));
      expect_all_passes(Case(p, uint64_t(i)));
    }
  }
}

// Blocks of several groups, sums of several blocks of tiles, parts of few channels and shared sums of many.
TEST(Winograd, AgreesWithTheDefinitionWhereWorkIsCut) {
  for (const CpuTarget target : targets()) {
    const CpuTargetScope scope(target);
    SCOPED_TRACE(name_of(target));
    expect_all_passes(Case(problem(4, 22, 30, 33, 48), 1));
    expect_all_passes(Case(problem(2, 20, 36, 100, 140), 2));
  }
}

TEST(Winograd, ScalesAndFinishesAStyledLayer) {
  for (const CpuTarget target : targets())
    for (const DType type : {DType::f32, DType::bf16}) {
      const CpuTargetScope scope(target);
      const Case c(problem(2, 9, 14, 24, 37, type), 3);
      const int64_t P = c.p.OH * c.p.OW;
      Rng rng{.seed = 4};
      const auto draw = [&](Shape shape) { return randn(shape, rng, DType::f32, Device::cpu()); };
      const Tensor s = draw({2, 24}), d = draw({2, 37}), b = draw({37}), noise = draw({2, P}), strength = draw({1}),
                   addend = cast(draw(c.small.shape()), type);
      const Epilogue<> e{.d = d.data(),
                         .noise = noise.data(),
                         .strength = strength.data(),
                         .b = b.data(),
                         .noise_images = 2,
                         .slope = 0.2,
                         .gain = 1.4,
                         .clamp = 8,
                         .addend = addend.data()};
      WeightCache cache;
      Tensor y = c.small.like();
      kernels::winograd_forward(kCpu, c.p, e, y.mutable_data(), c.big.data(), s.data(), c.w.data(), cache);
      const Tensor z = c.expected_forward(scale_channels(wide(c.big), wide(s)));
      const BiasAct act{.slope = 0.2,
                        .gain = 1.4,
                        .clamp = 8,
                        .d = wide(d),
                        .noise = reshape(wide(noise), {2, c.p.OH, c.p.OW}),
                        .strength = wide(strength)};
      EXPECT_LT(relative_error(y, bias_act(z, wide(b), act) + wide(addend)), c.tolerance())
          << name_of(target) << ' ' << name_of(type);
    }
}

TEST(Winograd, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const auto& p : {problem(3, 22, 30, 33, 48), problem(2, 16, 16, 130, 257)}) {
    const Case c(p, 5);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3, 7}) {
      omp_set_num_threads(threads);
      WeightCache cache;
      Tensor y = c.small.like(), gx = c.big.like(), gw = c.w.like();
      kernels::winograd_forward(kCpu, c.p, {}, y.mutable_data(), c.big.data(), nullptr, c.w.data(), cache);
      kernels::winograd_backward_data(kCpu, c.p, gx.mutable_data(), c.small.data(), c.w.data(), cache);
      kernels::winograd_backward_weights(kCpu, c.p, gw.mutable_data(), c.big.data(), c.small.data());
      std::vector<float> all = y.to_floats();
      for (const Tensor& t : {gx, gw})
        for (const float v : t.to_floats()) all.push_back(v);
      results.push_back(all);
    }
    omp_set_num_threads(before);
    for (const auto& r : results) EXPECT_EQ(r, results.front());
  }
}

TEST(Winograd, NotANumberStays) {
  const Case c(problem(1, 8, 8, 16, 16), 6);
  WeightCache cache;
  Tensor y = c.small.like();
  std::vector<float> x = c.big.to_floats();
  x[(3 * 8 + 3) * 16] = NAN;
  const Tensor big = Tensor::from(std::span<const float>(x), c.big.shape(), DType::f32, Device::cpu());
  kernels::winograd_forward(kCpu, c.p, {.slope = 0.2, .clamp = 256}, y.mutable_data(), big.data(), nullptr, c.w.data(),
                            cache);
  EXPECT_TRUE(std::isnan(y.to_floats()[(3 * 8 + 3) * 16]));
}

}  // namespace
}  // namespace firn
