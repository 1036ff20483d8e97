// The rows of the table for what feature networks need: windows that slide over images, transformers, other sizes.
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
  const auto sized = [](const char* name, Shape x, int64_t height, int64_t width, Resize how, double step = 0) {
    return OpCase{name,
                  {x},
                  {{16, height, width, x[3]}},
                  [=](const In& in) {
                    return square(resize(in[0], height, width, how, step)); },
                  {},
                  "a"};
  };
  const auto pointwise = [](const char* name, Tensor (*f)(const Tensor&)) {
    return OpCase{name, {{3, 17}}, {{8, 197, 3072}}, [f](const In& in) { return f(in[0]); }, {}, "a"};
  };
  const auto attending = [](const char* name, Shape q, Shape k, int64_t heads) {
    const Shape tokens{8, 197, 768};
    return OpCase{name,
                  {q, k, k},
                  {tokens, tokens, tokens},
                  [heads](const In& in) { return attention(in[0], in[1], in[2], in[0].dim(1) == 197 ? 12 : heads); },
                  {},
                  "aaa",
                  2.0 * 2 * 8 * 197 * 197 * 768};
  };
  // Windows of an image have a bias each, one of them far below zero.
  const auto biased = [](const In& in) {
    std::vector<double> bias(in[0].dim(1) == 49 ? 2 * 3 * 49 * 49 : 2 * 2 * 3 * 5);
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = i == 3 ? -100 : double(i * 37 % 19) / 19;
    const int64_t heads = in[0].dim(1) == 49 ? 3 : 2;
    const Tensor b = Tensor::from(bias, {2, heads, in[0].dim(1), in[1].dim(1)}, acc_type(in[0].type()), in[0].device());
    return attention(in[0], in[1], in[2], heads, b);
  };
  const Shape windows{512, 49, 96};
  return {pointwise("gelu", gelu),
          pointwise("quick_gelu", quick_gelu),
          {"softmax", {{2, 3, 21}}, {{8, 12, 197, 197}}, [](const In& in) { return softmax(in[0] * 3.0); }, {}, "a"},
          {"softmax_of_vectors", {{3, 40}}, {{96, 50, 50}}, [](const In& in) { return softmax(in[0]); }, {}, "a"},
          {"layer_norm",
           {{2, 3, 24}, {24}, {24}},
           {{8, 197, 768}, {768}, {768}},
           [](const In& in) { return layer_norm(in[0], in[1], in[2]); },
           {},
           "aww"},
          {"layer_norm_of_a_few",
           {{5, 7}, {7}, {7}},
           {{1576, 384}, {384}, {384}},
           [](const In& in) { return layer_norm(in[0] + 3.0, in[1], in[2], 0.1); },
           {},
           "aww"},
          attending("attention", {2, 5, 12}, {2, 5, 12}, 2),
          attending("attention_across", {1, 9, 16}, {1, 7, 16}, 2),
          {"attention_biased",
           {{4, 3, 8}, {4, 5, 8}, {4, 5, 8}},
           {windows, windows, windows},
           biased,
           {},
           "aaa",
           2.0 * 2 * 512 * 49 * 49 * 96},
          sized("resize_area", {2, 7, 6, 3}, 3, 4, Resize::area),
          sized("resize_area_up", {1, 3, 5, 8}, 7, 8, Resize::area),
          sized("resize_bilinear", {2, 3, 4, 3}, 6, 8, Resize::bilinear),
          sized("resize_bilinear_down", {1, 9, 1, 8}, 4, 3, Resize::bilinear),
          sized("resize_bilinear_to_one", {1, 3, 5, 2}, 1, 9, Resize::bilinear),
          sized("resize_bicubic", {2, 3, 4, 3}, 7, 9, Resize::bicubic),
          sized("resize_bicubic_down", {1, 9, 7, 8}, 4, 3, Resize::bicubic),
          sized("resize_bicubic_by_step", {1, 5, 5, 2}, 3, 3, Resize::bicubic, 5 / 3.1),
          {"max_pool_times", {{2, 7, 6, 5}, {2, 3, 2, 5}}, {bench, {16, 17, 17, 288}}, times, {}, "aa"},
          max("max_pool", {2, 7, 6, 5}, {.stride = 2}),
          max("max_pool_padded", {1, 4, 5, 18}, {.pad = 1}),
          max("max_pool_ceil", {1, 6, 4, 3}, {.stride = 2, .ceil = true}),
          mean("mean_around", {2, 5, 4, 19}),
          mean("mean_around_one_pixel", {2, 1, 1, 3})};
}

}  // namespace firn::tests
