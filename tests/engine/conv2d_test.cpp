// What convolutions keep of their weights.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/ops.h"
#include "kernels/conv/conv_stride2.h"
#include "kernels/device/arena.h"

namespace firn {
namespace {

Tensor drawn(Shape shape, uint64_t seed) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, DType::f32, Device::cpu());
}

TEST(Conv2d, WeightsThatServeBothWaysAreNotMixedUp) {
  const Tensor x = drawn({1, 4, 4, 16}, 1);
  const auto weights = [] { return drawn({16, 3, 3, 16}, 2); };
  const auto up = [&](const Tensor& w) { return conv2d(x, w, {.stride = 2, .transposed = true}).to_floats(); };
  const auto down = [&](const Tensor& w) { return conv2d_input_grad(x, w, {1, 9, 9, 16}, {.stride = 2}).to_floats(); };
  const std::vector<float> expected_up = up(weights()), expected_down = down(weights());
  EXPECT_NE(expected_up, expected_down);
  const Tensor w = weights();
  EXPECT_EQ(up(w), expected_up);
  EXPECT_EQ(down(w), expected_down);
  EXPECT_EQ(up(w), expected_up);
}

TEST(Conv2d, WhatCouldNotBeMadeOfWeightsIsMadeLater) {
  const kernels::ConvProblem p{
      .N = 1, .H = 9, .W = 9, .I = 16, .OH = 4, .OW = 4, .O = 16, .KH = 3, .KW = 3, .stride = 2};
  const Tensor x = drawn({1, 4, 4, 16}, 1), w = drawn({16, 3, 3, 16}, 2);
  Tensor y = Tensor::zeros({1, 9, 9, 16}, DType::f32, Device::cpu());
  kernels::WeightCache cache;
  const auto run = [&] {
    kernels::conv_backward_data_by_phases(y.stream(), p, y.mutable_data(), x.data(), w.data(), cache);
  };
  {
    const kernels::ArenaPlan room_for_one{.bytes = {4 * 16 * 4 * 16}, .offsets = {0}, .size = 4 * 16 * 4 * 16};
    const kernels::ArenaBlock block(y.stream(), room_for_one.size);
    const kernels::ArenaPlayback no_more(room_for_one, block);
    EXPECT_THROW(run(), DeviceError);
  }
  run();
  EXPECT_EQ(y.to_floats(), conv2d_input_grad(x, w, {1, 9, 9, 16}, {.stride = 2}).to_floats());
}

}  // namespace
}  // namespace firn
