#include "tests/engine/op_cases.h"

namespace firn::tests {

namespace {

using In = std::vector<Tensor>;

double positive(double v) { return 0.5 + v * v; }

OpCase conv(const char* name, Shape x, Shape w, Shape bench_x, Shape bench_w, Conv2d p) {
  const int64_t out = bench_x[1] / (p.transposed ? 1 : p.stride);
  const double flops = 2.0 * double(bench_x[0] * out * out) * double(count(bench_w));
  return {name, {x, w}, {bench_x, bench_w}, [p](const In& in) { return conv2d(in[0], in[1], p); }, {}, "aw", flops};
}

OpCase fir(const char* name, Shape x, Shape bench_x, Fir p) {
  return {name, {x}, {bench_x}, [p](const In& in) { return upfirdn2d(in[0], p); }, {}, "a"};
}

// Not the same forwards and backwards.
Fir blur(int pad, double gain = 1) {
  return {.taps = {0.1, 0.2, 0.4, 0.3}, .pad_x0 = pad, .pad_x1 = pad, .pad_y0 = pad, .pad_y1 = pad, .gain = gain};
}

// Of each sample its own, small as everything that is added.
Tensor noise(int64_t n, int64_t h, int64_t w, const Tensor& like) {
  std::vector<double> values(static_cast<size_t>(n * h * w));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.25 + 0.5 * double(i % 3) + double(i / size_t(h * w));
  return Tensor::from(values, {n, h, w}, like.type(), like.device());
}

// Layers that double or halve an image.
std::vector<OpCase> resampling_cases() {
  return {
      {"styled_conv2d_up",
       {{2, 3, 2, 32}, {2, 32}, {8, 3, 3, 32}, {8}, {2, 8}, {}},
       {{8, 32, 32, 512}, {8, 512}, {512, 3, 3, 512}, {512}, {8, 512}, {}},
       [](const In& in) {
         BiasAct p = lrelu(1.5, 3.5);
         p.d = small(in[4]) + 1.0;
         p.strength = small(in[5]);
         p.noise = noise(in[0].dim(0), in[0].dim(1) * 2, in[0].dim(2) * 2, p.d);
         return styled_conv2d_up(in[0], small(in[1]) + 1.0, small(in[2]), small(in[3]) + alternating(in[3], 1),
                                 {.stride = 2, .transposed = true}, blur(1, 4), p);
       },
       {},
       "awwwww",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      {"conv2d_down",
       {{1, 6, 4, 16}, {32, 3, 3, 16}, {32}},
       {{8, 64, 64, 512}, {512, 3, 3, 512}, {512}},
       [](const In& in) {
         return conv2d_down(in[0], small(in[1]), small(in[2]) + alternating(in[2], 1), blur(2),
                            {.stride = 2, .gain = 1.5}, lrelu());
       },
       {},
       "aww",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      // Its weights have no gradient.
      {"conv2d_down_frozen",
       {{1, 6, 4, 32}, {32}},
       {{8, 64, 64, 512}, {512}},
       [](const In& in) {
         return conv2d_down(in[0], small(fixed_weights(in[1].dim(0), in[0])), small(in[1]) + alternating(in[1], 1),
                            blur(2), {.stride = 2}, lrelu(1, 1.2));
       },
       {},
       "aw",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      // No kernel does it in one.
      {"conv2d_down_odd",
       {{1, 7, 5, 32}, {8}},
       {{8, 63, 63, 512}, {512}},
       [](const In& in) {
         return conv2d_down(in[0], fixed_weights(in[1].dim(0), in[0]), {}, blur(2), {.stride = 2}, linear());
       },
       {},
       "aw"},
      // Two convolutions take what one filter gives.
      {"filter_for_two",
       {{1, 4, 4, 8}, {32, 3, 3, 8}},
       {{8, 32, 32, 64}, {64, 3, 3, 64}},
       [](const In& in) {
         const Tensor u = upfirdn2d(in[0], blur(2));
         return conv2d(u, in[1], {.stride = 2}) + conv2d(u, square(in[1]), {.stride = 2});
       },
       {},
       "aw",
       2.0 * 2 * 8 * 256 * 9 * 64 * 64},
  };
}

// Rows by number, with a row that is asked for twice and one that never is.
std::vector<OpCase> gather_cases() {
  const auto index = [](const Tensor& x, int64_t rows) {
    std::vector<int32_t> numbers{2, 0, 2, 3, 0};
    for (int32_t& n : numbers) n = n % static_cast<int32_t>(rows);
    return Tensor::from(numbers, {5}, x.device());
  };
  return {{"gather",
           {{5, 70}},
           {{1000, 512}},
           [=](const In& in) { return square(gather(in[0], index(in[0], in[0].dim(0)))); },
           {},
           "a"},
          {"pick_channels",
           {{3, 2, 5}},
           {{16, 32, 32, 128}},
           [](const In& in) {
             const int32_t C = static_cast<int32_t>(in[0].dim(-1));
             std::vector<int32_t> from, back(static_cast<size_t>(C), -1);
             for (int32_t c = 1; c < C; c += 2) back[static_cast<size_t>(c)] = c / 2, from.push_back(c);
             from.push_back(-1);
             const auto list = [&](const std::vector<int32_t>& v) {
               return Tensor::from(v, {static_cast<int64_t>(v.size())}, in[0].device());
             };
             return square(pick_channels(in[0], list(from), list(back)));
           },
           {},
           "a"},
          {"gather_of_numbers",
           {{4}},
           {{1000}},
           [=](const In& in) { return square(gather(in[0], index(in[0], 4))); },
           {},
           "a"},
          {"scatter_add",
           {{5, 3, 2}},
           {{5, 32, 32}},
           [=](const In& in) { return square(scatter_add(in[0], index(in[0], 4), 4)); },
           {},
           "a"}};
}

std::vector<OpCase> make_cases() {
  const Shape image{8, 32, 32, 512};
  std::vector<OpCase> c{
      {"add_broadcast", {{2, 3, 4}, {3, 1}}, {image, {512}}, [](const In& in) { return in[0] + in[1]; }, {}, "aa"},
      {"sub_broadcast", {{4}, {2, 3, 4}}, {image, image}, [](const In& in) { return in[0] - in[1]; }, {}, "aa"},
      {"mul_broadcast", {{2, 1, 4}, {2, 3, 1}}, {image, image}, [](const In& in) { return in[0] * in[1]; }, {}, "aa"},
      {"div", {{2, 3, 4}, {4}}, {image, image}, [](const In& in) { return in[0] / in[1]; }, positive},
      {"affine", {{3, 5}}, {image}, [](const In& in) { return affine(in[0], -1.5, 0.25); }, {}, "a"},
      {"square", {{3, 5}}, {image}, [](const In& in) { return square(in[0]); }, {}, "a"},
      {"sqrt", {{3, 5}}, {image}, [](const In& in) { return sqrt(in[0]); }, positive},
      {"rsqrt", {{3, 5}}, {image}, [](const In& in) { return rsqrt(in[0]); }, positive},
      {"softplus", {{3, 5}}, {{8, 1}}, [](const In& in) { return softplus(in[0]); }},
      {"sigmoid", {{3, 5}}, {{8, 1}}, [](const In& in) { return sigmoid(in[0]); }},
      {"tanh", {{3, 5}}, {{8, 1}}, [](const In& in) { return tanh(in[0]); }},
      {"exp", {{3, 5}}, {{8, 1}}, [](const In& in) { return exp(in[0]); }},
      {"log", {{3, 5}}, {{8, 1}}, [](const In& in) { return log(in[0]); }, positive},
      {"abs", {{3, 5}}, {{8, 1}}, [](const In& in) { return abs(in[0]); }, off_zero},
      {"sum_to_channels",
       {{2, 3, 4, 5}},
       {image},
       [](const In& in) { return square(sum_to(in[0], {in[0].dim(-1)})); },
       {},
       "a"},
      {"sum_to_middle",
       {{2, 3, 4, 5}},
       {image},
       [](const In& in) {
         return square(sum_to(in[0], {in[0].dim(0), 1, in[0].dim(2), 1}));
       },
       {},
       "a"},
      {"mean", {{2, 3, 4}}, {image}, [](const In& in) { return square(mean(in[0])); }},
      {"sum_per_sample", {{3, 2, 4}}, {image}, [](const In& in) { return square(sum_per_sample(in[0])); }},
      {"expand",
       {{3, 1}},
       {{512}},
       [](const In& in) {
         return square(expand(in[0], {2, 3, 4}, in[0].type()));
       }},
      {"scale_channels",
       {{2, 3, 2, 5}, {2, 5}},
       {image, {8, 512}},
       [](const In& in) { return scale_channels(in[0], in[1]); },
       {},
       "aw"},
      {"dot_pixels",
       {{2, 3, 2, 5}, {2, 3, 2, 5}},
       {image, image},
       [](const In& in) { return dot_pixels(in[0], in[1]); },
       {},
       "aa"},
      {"matmul_nn",
       {{3, 4}, {4, 5}},
       {{512, 512}, {512, 512}},
       [](const In& in) { return matmul(in[0], in[1]); },
       {},
       "aa",
       2.0 * 512 * 512 * 512},
      {"matmul_nt",
       {{6, 5}, {7, 5}},
       {{512, 512}, {512, 512}},
       [](const In& in) { return matmul(in[0], in[1], {.trans_b = true, .alpha = 0.3}); },
       {},
       "aa",
       2.0 * 512 * 512 * 512},
      {"matmul_tn",
       {{5, 6}, {5, 7}},
       {{512, 512}, {512, 512}},
       [](const In& in) { return matmul(in[0], in[1], {.trans_a = true}); },
       {},
       "aa",
       2.0 * 512 * 512 * 512},
      {"matmul_batched_torgb",
       {{2, 6, 20}, {2, 3, 20}},
       {{8, 1024, 512}, {8, 3, 512}},
       [](const In& in) { return matmul(in[0], in[1], {.trans_b = true, .wide_output = true}); },
       {},
       "aa",
       2.0 * 8 * 1024 * 512 * 3},
      {"matmul_fromrgb",
       {{12, 3}, {20, 3}},
       {{8192, 3}, {512, 3}},
       [](const In& in) { return matmul(in[0], in[1], {.trans_b = true}); },
       {},
       "aa",
       2.0 * 8 * 1024 * 512 * 3},
      {"matmul_shared_right",
       {{2, 6, 5}, {1, 7, 5}},
       {{8, 64, 512}, {1, 512, 512}},
       [](const In& in) { return matmul(in[0], in[1], {.trans_b = true}); },
       {},
       "aa"},
      conv("conv2d_k3", {2, 5, 6, 3}, {4, 3, 3, 3}, image, {512, 3, 3, 512}, {.pad = 1, .gain = 0.5}),
      conv("conv2d_k3_wide", {1, 16, 16, 16}, {16, 3, 3, 16}, {8, 16, 16, 512}, {512, 3, 3, 512}, {.pad = 1}),
      conv("conv2d_k3_tiles", {4, 8, 8, 32}, {64, 3, 3, 32}, {8, 8, 8, 512}, {512, 3, 3, 512}, {.pad = 1, .gain = 0.5}),
      conv("conv2d_k3_down2_tiles", {4, 17, 17, 64}, {32, 3, 3, 64}, {8, 17, 17, 512}, {512, 3, 3, 512}, {.stride = 2}),
      conv("conv2d_up2_tiles", {4, 8, 8, 32}, {64, 3, 3, 32}, {8, 8, 8, 512}, {512, 3, 3, 512},
           {.stride = 2, .transposed = true}),
      conv("conv2d_k3_4x4", {2, 4, 4, 16}, {16, 3, 3, 16}, {8, 4, 4, 512}, {512, 3, 3, 512}, {.pad = 1}),
      conv("conv2d_k3_down2", {2, 9, 7, 3}, {4, 3, 3, 3}, {8, 33, 33, 512}, {512, 3, 3, 512}, {.stride = 2}),
      conv("conv2d_k3x1", {2, 5, 6, 3}, {4, 3, 1, 3}, image, {512, 3, 1, 512}, {.pad = 1, .gain = 0.5, .pad_x = 0}),
      conv("conv2d_k1x3_wide", {1, 16, 16, 16}, {16, 1, 3, 16}, image, {512, 1, 3, 512}, {.pad_x = 1}),
      conv("conv2d_k2x3_down2_wide", {2, 6, 9, 16}, {16, 2, 3, 16}, image, {512, 2, 3, 512}, {.stride = 2, .pad_x = 1}),
      conv("conv2d_k3x2_up2", {2, 3, 2, 5}, {4, 3, 2, 5}, {8, 16, 16, 512}, {512, 3, 2, 512},
           {.stride = 2, .pad = 1, .transposed = true, .pad_x = 0}),
      conv("conv2d_groups", {2, 5, 4, 6}, {4, 3, 3, 3}, image, {512, 3, 3, 256}, {.pad = 1, .gain = 0.5, .groups = 2}),
      conv("conv2d_groups_wide", {1, 16, 16, 32}, {64, 3, 3, 16}, image, {512, 3, 3, 256}, {.pad = 1, .groups = 2}),
      conv("conv2d_depthwise_down2", {2, 7, 6, 4}, {4, 3, 3, 1}, image, {512, 3, 3, 128}, {.stride = 2, .groups = 4}),
      conv("conv2d_behind", {2, 6, 8, 3}, {4, 3, 3, 3}, image, {512, 3, 3, 512}, {.stride = 2, .behind = 1}),
      conv("conv2d_depthwise_behind", {2, 6, 8, 16}, {16, 5, 5, 1}, image, {512, 5, 5, 1},
           {.stride = 2, .pad = 1, .groups = 16, .behind = 1}),
      conv("conv2d_groups_up2", {1, 3, 2, 6}, {4, 3, 3, 3}, {8, 16, 16, 512}, {512, 3, 3, 256},
           {.stride = 2, .transposed = true, .groups = 2}),
      conv("conv2d_k1", {2, 3, 4, 5}, {6, 1, 1, 5}, image, {512, 1, 1, 512}, {}),
      conv("conv2d_k3_down2_wide", {2, 9, 7, 16}, {32, 3, 3, 16}, {8, 65, 65, 128}, {128, 3, 3, 128}, {.stride = 2}),
      conv("conv2d_up2", {2, 4, 3, 16}, {32, 3, 3, 16}, {8, 16, 16, 512}, {512, 3, 3, 512},
           {.stride = 2, .transposed = true}),
      {"conv2d_weight_grad",
       {{2, 5, 6, 3}, {2, 5, 6, 4}},
       {image, image},
       [](const In& in) {
         return conv2d_weight_grad(in[0], in[1], {in[1].dim(3), 3, 3, in[0].dim(3)}, {.pad = 1});
       },
       {},
       "aa",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      fir("upfirdn2d_blur", {2, 5, 4, 3}, {8, 33, 33, 512},
          {.pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1, .gain = 4}),
      fir("upfirdn2d_blur_wide", {1, 5, 4, 20}, {8, 65, 65, 128}, {.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2}),
      fir("upfirdn2d_up2", {2, 3, 4, 2}, {8, 16, 16, 512},
          {.up = 2, .pad_x0 = 2, .pad_x1 = 1, .pad_y0 = 2, .pad_y1 = 1, .gain = 4}),
      fir("upfirdn2d_down2", {2, 6, 4, 70}, image, {.down = 2, .pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1}),
      fir("upfirdn2d_asymmetric_crop", {1, 7, 6, 2}, {8, 32, 32, 64},
          {.taps = {0.1, 0.5, 0.3}, .up = 2, .down = 3, .pad_x0 = -1, .pad_x1 = 2, .pad_y0 = 1, .pad_y1 = -2}),
      {"bias_act_lrelu",
       {{2, 3, 4, 5}, {5}},
       {image, {512}},
       [](const In& in) { return bias_act(in[0], small(in[1]), lrelu()); },
       off_zero,
       "aw"},
      {"bias_act_clamped",
       {{2, 3, 4, 5}, {5}},
       {image, {512}},
       [](const In& in) { return bias_act(in[0], small(in[1]), lrelu(1.0, 0.75)); },
       off_zero,
       "aw"},
      {"bias_act_linear",
       {{3, 5}, {5}},
       {image, {512}},
       [](const In& in) { return square(bias_act(in[0], in[1], linear(0.5))); }},
      {"synthesis_act",
       {{2, 3, 4, 5}, {5}, {2, 5}, {}},
       {image, {512}, {8, 512}, {}},
       [](const In& in) {
         BiasAct p = lrelu();
         p.d = small(in[2]) + 1.0;
         p.strength = small(in[3]);
         p.noise = Tensor::full({1, in[0].dim(1), in[0].dim(2)}, 0.5, p.d.type(), in[0].device());
         return bias_act(in[0], small(in[1]), p);
       },
       off_zero,
       "awww"},
      {"bias_act_noise",
       {{2, 3, 4, 5}, {5}, {2, 5}, {}, {2, 3, 4}},
       {image, {512}, {8, 512}, {}, {8, 64, 64}},
       [](const In& in) {
         BiasAct p = lrelu();
         p.d = small(in[2]) + 1.0;
         p.strength = small(in[3]);
         p.noise = small(in[4]);
         return bias_act(in[0], small(in[1]), p);
       },
       off_zero,
       "awwww"},
      {"bias_act_shared_noise",
       {{2, 3, 4, 5}, {}, {1, 3, 4}},
       {image, {}, {1, 64, 64}},
       [](const In& in) {
         BiasAct p = lrelu();
         p.strength = small(in[1]);
         p.noise = small(in[2]);
         return bias_act(in[0], {}, p);
       },
       off_zero,
       "aww"},
      {"styled_conv2d",
       {{2, 4, 3, 32}, {2, 32}, {8, 3, 3, 32}, {8}, {2, 8}, {}},
       {image, {8, 512}, {512, 3, 3, 512}, {512}, {8, 512}, {}},
       [](const In& in) {
         BiasAct p = lrelu(1.5, 3.5);
         p.d = small(in[4]) + 1.0;
         p.strength = small(in[5]);
         p.noise = noise(in[0].dim(0), in[0].dim(1), in[0].dim(2), p.d);
         return styled_conv2d(in[0], small(in[1]) + 1.0, small(in[2]), small(in[3]) + alternating(in[3], 1), {.pad = 1},
                              p);
       },
       {},
       "awwwww",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      // The second layer and something else take what the first one gives.
      {"styled_layers",
       {{2, 3, 2, 32}, {2, 32}, {32, 1, 1, 32}, {32}, {2, 32}, {8, 1, 1, 32}, {8}},
       {image, {8, 512}, {512, 1, 1, 512}, {512}, {8, 512}, {512, 1, 1, 512}, {512}},
       [](const In& in) {
         const auto layer = [&](const Tensor& x, const Tensor& s, size_t i) {
           return styled_conv2d(x, s, small(in[i]), small(in[i + 1]) + alternating(in[i + 1], 1), {}, lrelu(1.5, 3.5));
         };
         const Tensor s1 = small(in[1]) + 1.0, s2 = small(in[4]) + 1.0, y = layer(in[0], s1, 2);
         return concat({layer(y, s2, 5), y * 0.5}, 3);
       },
       {},
       "awwwwww",
       4.0 * 8 * 1024 * 512 * 512},
      {"upfirdn2d_bias_act",
       {{2, 5, 4, 8}, {8}, {2, 8}, {}},
       {{8, 33, 33, 512}, {512}, {8, 512}, {}},
       [](const In& in) {
         BiasAct p = lrelu(1.5, 1.6);
         p.d = small(in[2]) + 1.0;
         p.strength = small(in[3]);
         p.noise = Tensor::full({1, in[0].dim(1) - 1, in[0].dim(2) - 1}, 0.5, p.d.type(), in[0].device());
         return upfirdn2d_bias_act(in[0] * 0.2, blur(1, 4), small(in[1]) + alternating(in[1], 1), p);
       },
       {},
       "awww"},
      {"conv2d_add",
       {{2, 3, 4, 32}, {16, 1, 1, 32}, {2, 3, 4, 16}},
       {image, {512, 1, 1, 512}, image},
       [](const In& in) { return square(conv2d_add(in[0], in[1] * 0.2, {.gain = 1.5}, in[2])); },
       {},
       "awa",
       2.0 * 8 * 1024 * 512 * 512},
      {"conv2d_lrelu",
       {{1, 5, 4, 32}, {16, 3, 3, 32}, {16}},
       {image, {512, 3, 3, 512}, {512}},
       [](const In& in) {
         return styled_conv2d(in[0], {}, small(in[1]), small(in[2]) + alternating(in[2], 1), {.pad = 1}, lrelu());
       },
       {},
       "aww",
       2.0 * 8 * 1024 * 9 * 512 * 512},
      {"fromrgb_lrelu",
       {{1, 3, 4, 3}, {20, 1, 1, 3}, {20}},
       {{8, 32, 32, 3}, {512, 1, 1, 3}, {512}},
       [](const In& in) {
         return styled_conv2d(in[0], {}, small(in[1]), small(in[2]) + alternating(in[2], 1), {.gain = 0.5},
                              lrelu(1.5, 3.5));
       },
       {},
       "aww",
       2.0 * 8 * 1024 * 512 * 3},
      {"reshape",
       {{2, 6}},
       {image},
       [](const In& in) {
         return square(reshape(in[0], {3, -1}));
       }},
      {"permute",
       {{2, 3, 4, 5}},
       {image},
       [](const In& in) {
         return square(permute(in[0], {0, 3, 1, 2}));
       },
       {},
       "a"},
      {"flip", {{2, 9, 3}}, {{256, 9, 256}}, [](const In& in) { return square(flip(in[0], {1})); }, {}, "a"},
      {"flip_of_two", {{2, 3, 4, 3}}, {{256, 3, 3, 256}}, [](const In& in) { return square(flip(in[0], {1, -2})); }, {}, "a"},
      {"slice", {{2, 5, 3}}, {image}, [](const In& in) { return square(slice(in[0], 1, 1, 4)); }, {}, "a"},
      {"embed",
       {{2, 3, 3}},
       {image},
       [](const In& in) { return square(embed(in[0], 1, 1, in[0].dim(1) + 3)); },
       {},
       "a"},
      {"concat", {{2, 3, 2}, {2, 1, 2}}, {image, image}, [](const In& in) { return square(concat(in, 1)); }, {}, "aa"},
      {"normalize_2nd_moment", {{3, 6}}, {{8, 512}}, [](const In& in) { return normalize_2nd_moment(in[0]); }},
      {"demodulation",
       {{4, 3, 3, 5}, {2, 5}},
       {{512, 3, 3, 512}, {8, 512}},
       [](const In& in) { return demodulation(in[0], in[1]); }},
      {"minibatch_stddev",
       {{6, 2, 3, 4}},
       {{9, 4, 4, 512}},
       [](const In& in) { return minibatch_stddev(in[0], 3, 2); },
       {},
       "a"},
      {"minibatch_stddev_segments",
       {{4, 2, 2, 2}},
       {{16, 4, 4, 512}},
       [](const In& in) { return minibatch_stddev(in[0], 2, 1, 2); },
       {},
       "a"},
  };
  for (OpCase& more : gather_cases()) c.push_back(std::move(more));
  for (OpCase& more : resampling_cases()) c.push_back(std::move(more));
  for (OpCase& more : feature_cases()) c.push_back(std::move(more));
  for (OpCase& more : augment_cases()) c.push_back(std::move(more));
  for (OpCase& more : sngan_cases()) c.push_back(std::move(more));
  return c;
}

}  // namespace

double off_zero(double v) { return v + (v > 0 ? 0.1 : -0.1); }

Tensor small(const Tensor& t) { return t * 0.01; }

Tensor alternating(const Tensor& b, double size) {
  std::vector<double> values(static_cast<size_t>(b.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = i % 2 ? -size : size;
  return Tensor::from(values, b.shape(), b.type(), b.device());
}

Tensor fixed_weights(int64_t outputs, const Tensor& x) {
  Rng rng{.seed = 3};
  const Shape shape{outputs, 3, 3, x.dim(3)};
  const std::vector<double> values = randn(shape, rng, DType::f32, Device::cpu()).to_doubles();
  return Tensor::from(values, shape, acc_type(x.type()), x.device());
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = make_cases();
  return cases;
}

std::vector<OpCase> small_op_cases() {
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [](const OpCase& c) {
    int64_t elements = 0;
    for (const Shape& s : c.shapes) elements += count(s);
    return elements > 8000;
  });
  return cases;
}

}  // namespace firn::tests
