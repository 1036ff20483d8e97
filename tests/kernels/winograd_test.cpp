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
using kernels::has_amx;
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

// Of stride 2, from a small image of H x W.
ConvProblem halving(int64_t N, int64_t H, int64_t W, int64_t I, int64_t O, DType type = DType::f32,
                    bool swapped = false) {
  ConvProblem p = problem(N, 2 * H + 1, 2 * W + 1, I, O, type, swapped, 0, 0);
  p.OH = H, p.OW = W, p.stride = 2;
  return p;
}

// Compiled for each instruction set that this processor has.
void expect_all_passes(const Case& c) {
  const Tensor expected_y = c.expected_forward(wide(c.big)), expected_gx = c.expected_backward_data(),
               expected_gw = c.expected_backward_weights();
  for (const CpuTarget target : targets()) {
    const CpuTargetScope scope(target);
    SCOPED_TRACE(fmt::format("{} {}", name_of(target), c.describe()));
    Tensor y = c.small.like(), gx = c.big.like(), gw = c.w.like();
    kernels::winograd_forward(kCpu, c.p, {}, y.mutable_data(), c.big.data(), nullptr, c.w.data());
    kernels::winograd_backward_data(kCpu, c.p, gx.mutable_data(), c.small.data(), c.w.data());
    kernels::winograd_backward_weights(kCpu, c.p, gw.mutable_data(), c.big.data(), c.small.data());
    EXPECT_LT(relative_error(y, expected_y), c.tolerance()) << "output";
    EXPECT_LT(relative_error(gx, expected_gx), c.tolerance()) << "input gradient";
    EXPECT_LT(relative_error(gw, expected_gw), kMostError) << "weight gradient";
  }
}

TEST(Winograd, AgreesWithTheDefinitionOnFuzzedShapes) {
  std::mt19937_64 random(7);
  const auto between = [&](int64_t a, int64_t b) { return a + int64_t(random() % uint64_t(b - a + 1)); };
  for (int i = 0; i < 24; ++i) {
    const int64_t N = between(1, 3), H = between(1, 11), W = between(1, 11), I = between(1, 50), O = between(1, 50);
    const auto pad = [&](int64_t side) { return int(between(side == 1 ? 1 : 0, 2)); };
    const DType type = i % 3 == 2 ? DType::bf16 : DType::f32;
    const bool swapped = random() % 2 == 0;
    expect_all_passes(Case(
        i % 2 ? halving(N, H, W, I, O, type, swapped) : problem(N, H + 1, W + 1, I, O, type, swapped, pad(H), pad(W)),
        uint64_t(i)));
  }
}

// Blocks of several groups, several blocks of tiles, several chunks of channels, tiles beyond those whose weights are
// transformed by panels, parts of few channels and shared sums of many.
TEST(Winograd, AgreesWithTheDefinitionWhereWorkIsCut) {
  expect_all_passes(Case(problem(2, 17, 12, 150, 40), 5));
  expect_all_passes(Case(halving(5, 12, 20, 150, 40), 6));
  expect_all_passes(Case(halving(5, 12, 20, 40, 150, DType::f32, true), 7));
  for (const DType type : {DType::f32, DType::bf16}) {
    expect_all_passes(Case(problem(129, 5, 5, 18, 37, type), 8));
    expect_all_passes(Case(halving(129, 5, 5, 37, 18, type), 9));
  }
  expect_all_passes(Case(problem(33, 5, 5, 200, 196), 10));
  expect_all_passes(Case(halving(33, 5, 5, 196, 200), 11));
  expect_all_passes(Case(halving(1, 8, 270, 20, 17), 12));  // a row is longer than a block
  expect_all_passes(Case(problem(4, 22, 30, 33, 48), 1));
  expect_all_passes(Case(problem(2, 20, 36, 68, 260), 2));
  expect_all_passes(Case(halving(3, 16, 29, 33, 48), 3));
  expect_all_passes(Case(halving(2, 13, 20, 68, 260), 4));
}

TEST(Winograd, ScalesAndFinishesAStyledLayer) {
  std::vector<ConvProblem> problems;
  for (const DType type : {DType::f32, DType::bf16}) {
    problems.push_back(problem(2, 9, 14, 24, 37, type));
    problems.push_back(halving(2, 9, 6, 24, 37, type));
  }
  for (const CpuTarget target : targets())
    for (const ConvProblem& p : problems) {
      const CpuTargetScope scope(target);
      const Case c(p, 3);
      const int64_t P = c.p.OH * c.p.OW;
      Rng rng{.seed = 4};
      const auto draw = [&](Shape shape) { return randn(shape, rng, DType::f32, Device::cpu()); };
      const Tensor s = draw({2, 24}), d = draw({2, 37}), b = draw({37}), noise = draw({2, P}), strength = draw({1}),
                   addend = cast(draw(c.small.shape()), p.type);
      const Epilogue<> e{.d = d.data(),
                         .noise = noise.data(),
                         .strength = strength.data(),
                         .b = b.data(),
                         .noise_images = 2,
                         .slope = 0.2,
                         .gain = 1.4,
                         .clamp = 8,
                         .addend = addend.data()};
      Tensor y = c.small.like();
      kernels::winograd_forward(kCpu, c.p, e, y.mutable_data(), c.big.data(), s.data(), c.w.data());
      const Tensor z = c.expected_forward(scale_channels(wide(c.big), wide(s)));
      const BiasAct act{.slope = 0.2,
                        .gain = 1.4,
                        .clamp = 8,
                        .d = wide(d),
                        .noise = reshape(wide(noise), {2, c.p.OH, c.p.OW}),
                        .strength = wide(strength)};
      EXPECT_LT(relative_error(y, bias_act(z, wide(b), act) + wide(addend)), c.tolerance())
          << name_of(target) << ' ' << c.describe();
    }
}

TEST(Winograd, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const auto& p : {problem(3, 22, 30, 33, 48), problem(2, 16, 16, 130, 257), halving(3, 15, 24, 33, 48),
                        halving(2, 8, 16, 130, 257), problem(129, 5, 5, 18, 37), halving(129, 5, 5, 37, 18),
                        problem(33, 5, 5, 200, 196)}) {
    const Case c(p, 5);
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 3, 7, 40}) {
      omp_set_num_threads(threads);
      Tensor y = c.small.like(), gx = c.big.like(), gw = c.w.like();
      kernels::winograd_forward(kCpu, c.p, {}, y.mutable_data(), c.big.data(), nullptr, c.w.data());
      kernels::winograd_backward_data(kCpu, c.p, gx.mutable_data(), c.small.data(), c.w.data());
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

// What is faster by it, and that those who ask for a convolution get it.
TEST(Winograd, IsChosenByShape) {
  const auto fits = [](ConvProblem p) { return kernels::fits_winograd(kCpu, p); };
  const auto changed = [](ConvProblem p, auto change) {
    change(p);
    return p;
  };
  EXPECT_TRUE(fits(problem(8, 4, 4, 16, 16)));
  EXPECT_TRUE(fits(problem(1, 32, 32, 8192, 16, DType::bf16)) != has_amx());
  EXPECT_FALSE(fits(problem(1, 4, 4, 16, 16))) << "one tile";
  EXPECT_FALSE(fits(problem(8, 2, 2, 16, 16)));
  for (const int64_t side : {4, 7, 8, 10, 16}) EXPECT_TRUE(fits(halving(8, side, side, 16, 16))) << side;
  for (const int64_t side : {2, 5, 6, 9}) EXPECT_FALSE(fits(halving(8, side, side, 16, 16))) << side;
  EXPECT_FALSE(fits(problem(0, 32, 32, 16, 16)));
  EXPECT_FALSE(fits(problem(8, 32, 32, 15, 16)));
  EXPECT_FALSE(fits(problem(8, 32, 32, 16, 8193)));
  EXPECT_FALSE(fits(problem(8, 32, 32, 16, 16, DType::f64)));
  EXPECT_FALSE(fits(problem(8, 32, 32, 16, 16, DType::f32, false, 3, 3)));
  EXPECT_FALSE(fits(changed(problem(8, 32, 32, 16, 16), [](ConvProblem& p) { p.groups = 2; })));
  EXPECT_FALSE(fits(changed(halving(8, 32, 32, 16, 16), [](ConvProblem& p) { p.H += 1; })));

  for (const ConvProblem& p : {problem(2, 8, 8, 16, 16), halving(2, 8, 8, 16, 16)}) {
    const Case c(p, 7);
    kernels::WeightCache cache;
    Tensor y = c.small.like(), gx = c.big.like(), gw = c.w.like();
    const auto share_done = [&](auto&& run) {
      const LaunchCounter launches;
      run();
      EXPECT_EQ(launches.flops(), p.flops());
      return launches.done() / launches.flops();
    };
    const double share = p.stride == 1 ? .25 : .5625;
    EXPECT_EQ(share_done([&] { conv_forward(kCpu, p, y.mutable_data(), c.big.data(), c.w.data(), cache); }), share);
    EXPECT_EQ(share_done([&] { conv_backward_data(kCpu, p, gx.mutable_data(), c.small.data(), c.w.data(), cache); }),
              share);
    EXPECT_EQ(share_done([&] { conv_backward_weights(kCpu, p, gw.mutable_data(), c.big.data(), c.small.data()); }),
              share);
    EXPECT_EQ(
        share_done([&] { conv_bias_act(kCpu, p, {.slope = .2}, y.mutable_data(), c.big.data(), c.w.data(), cache); }),
        share);
  }
}

TEST(Winograd, NotANumberStays) {
  const Case c(problem(1, 8, 8, 16, 16), 6);
  Tensor y = c.small.like();
  std::vector<float> x = c.big.to_floats();
  x[(3 * 8 + 3) * 16] = NAN;
  const Tensor big = Tensor::from(std::span<const float>(x), c.big.shape(), DType::f32, Device::cpu());
  kernels::winograd_forward(kCpu, c.p, {.slope = 0.2, .clamp = 256}, y.mutable_data(), big.data(), nullptr, c.w.data());
  EXPECT_TRUE(std::isnan(y.to_floats()[(3 * 8 + 3) * 16]));
}

}  // namespace
}  // namespace firn
