// The rows of the table for what augmentation does to images.
#include "tests/engine/op_cases.h"

namespace firn::tests {

namespace {

using In = std::vector<Tensor>;

Tensor numbers(const std::vector<double>& of_a_sample, Shape shape, const Tensor& x) {
  std::vector<double> all;
  for (int64_t n = 0; n < x.dim(0); ++n)
    for (const double v : of_a_sample) all.push_back(v * (n % 2 ? 1 : 0.75));
  shape.insert(shape.begin(), x.dim(0));
  return Tensor::from(all, shape, x.type(), x.device());
}

OpCase warped(const char* name, Shape x, std::vector<double> matrix, Reflection pad = {}) {
  return {name, {x}, {{32, 64, 64, 3}}, [matrix, pad](const In& in) {
            return warp(in[0], numbers(matrix, {2, 3}, in[0]), pad);
          }};
}

}  // namespace

std::vector<OpCase> augment_cases() {
  const Shape image{32, 64, 64, 3};
  return {
      warped("warp", {2, 6, 5, 3}, {0.9, 0.4, 1.3, -0.5, 1.1, -0.7}),
      warped("warp_far", {1, 5, 8, 1}, {2.3, -0.8, 3.1, 0.6, 1.9, 2.2}),
      warped("warp_close", {2, 4, 4, 4}, {0.3, 0.1, 0.6, -0.2, 0.25, 0.1}),
      warped("warp_less_reflected", {2, 5, 6, 2}, {1.4, 0.3, 1.2, 0.2, -1.5, 0.4},
             {.left = 2, .right = 0, .top = 1, .bottom = 4}),
      warped("warp_one_row", {1, 1, 7, 3}, {1.2, 0.1, 0.5, 0.1, 0.9, 0.2}),
      warped("warp_flat", {1, 3, 4, 1}, {0.5, 1.0, 0.3, 0.25, 0.5, 0.1}),  // its matrix has no inverse
      {"mix_channels",
       {{2, 3, 4, 3}},
       {image},
       [](const In& in) {
         return square(mix_channels(in[0], numbers({1, .2, -.3, .4, .5, -.6, .7, .1, -.8, .9, .2, .3}, {3, 4}, in[0])));
       }},
      {"mix_channels_grey",
       {{2, 3, 4, 1}},
       {{32, 64, 64, 1}},
       [](const In& in) {
         return square(mix_channels(in[0], numbers({1.5, -.2}, {1, 2}, in[0])));
       }},
      {"shift_pixels",
       {{2, 5, 6, 3}},
       {image},
       [](const In& in) {
         return square(shift_pixels(in[0], numbers({4, -4}, {2}, in[0])));
       }},
      {"cut_out",
       {{2, 5, 6, 3}},
       {image},
       [](const In& in) {
         return square(cut_out(in[0], numbers({3, 2, 1.2, 2}, {4}, in[0])));
       }},
      {"filter_reflected",
       {{2, 6, 5, 3}},
       {image},
       [](const In& in) {
         return square(filter_reflected(in[0], numbers({.1, .3, .5, -.2, .4, .25, -.1}, {7}, in[0])));
       }},
      {"filter_reflected_often",
       {{1, 3, 1, 2}},
       {image},
       [](const In& in) {
         return square(filter_reflected(in[0], numbers({.1, .3, .5, -.2, .4, .25, -.1, .3, .2, .1, .6}, {11}, in[0])));
       }},
  };
}

}  // namespace firn::tests
