// The rows of the table for windows that slide over images, which feature networks need.
#include "tests/engine/op_cases.h"

namespace firn::tests {

namespace {

using In = std::vector<Tensor>;

// Neighbours differ by more than what is added, so that no small step changes which is the largest.
Tensor apart(const Tensor& x) {
  std::vector<double> steps(static_cast<size_t>(x.count()));
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = double(i * 41 % 101);
  return x * 0.1 + Tensor::from(steps, x.shape(), x.type(), x.device());
}

}  // namespace

std::vector<OpCase> feature_cases() {
  const Shape bench{16, 35, 35, 288};
  const auto max = [&](const char* name, Shape x, PoolWindow p) {
    return OpCase{name, {x}, {bench}, [p](const In& in) { return max_pool(apart(in[0]), p); }, {}, "a"};
  };
  const auto mean = [&](const char* name, Shape x) {
    return OpCase{name, {x}, {bench}, [](const In& in) { return mean_around(in[0], 3); }, {}, "a"};
  };
  const auto times = [](const In& in) { return mul(max_pool(apart(in[0]), {.stride = 2}), in[1]); };
  return {{"max_pool_times", {{2, 7, 6, 5}, {2, 3, 2, 5}}, {bench, {16, 17, 17, 288}}, times, {}, "aa"},
          max("max_pool", {2, 7, 6, 5}, {.stride = 2}),
          max("max_pool_padded", {1, 4, 5, 18}, {.pad = 1}),
          max("max_pool_ceil", {1, 6, 4, 3}, {.stride = 2, .ceil = true}),
          mean("mean_around", {2, 5, 4, 19}),
          mean("mean_around_one_pixel", {2, 1, 1, 3})};
}

}  // namespace firn::tests
