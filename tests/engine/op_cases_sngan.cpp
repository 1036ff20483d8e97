// The rows of the table for pooling, batch normalisation, spectral normalisation and the projection.
#include "tests/engine/op_cases.h"

namespace firn::tests {

namespace {

using In = std::vector<Tensor>;

// first, first + step, ... [n]
Tensor rising(int64_t n, double first, double step, const Tensor& like) {
  std::vector<double> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = first + step * static_cast<double>(i % 8);
  return Tensor::from(v, {n}, acc_type(like.type()), like.device());
}

OpCase norm(const char* name, Shape x, Shape gamma, Shape bench_x, Shape bench_gamma, BatchNorm p) {
  return {name,
          {x, gamma, gamma},
          {bench_x, bench_gamma, bench_gamma},
          [p](const In& in) {
            BatchNorm q = p;
            if (!p.train) {
              q.avg_mean = rising(in[0].dim(-1), -0.5, 0.25, in[0]);
              q.avg_var = rising(in[0].dim(-1), 0.5, 0.375, in[0]);
            }
            const Tensor beta = p.relu ? small(in[2]) + alternating(in[2], 4) : in[2];
            return batch_norm(in[0], small(in[1]) + 1.0, beta, q);
          },
          {},
          "aww"};
}

// Vectors for w [O,...] that are no singular ones, so that nothing vanishes.
Spectral vectors_for(const Shape& w, const Tensor& like) {
  Rng rng{.seed = 5};
  const DType type = acc_type(like.type());
  const auto drawn = [&](int64_t n) {
    return Tensor::from(randn({n}, rng, DType::f32, Device::cpu()).to_doubles(), {n}, type, like.device());
  };
  return {drawn(w[0]), drawn(count(w) / w[0])};
}

// A class that comes twice and one that never does.
Tensor labels_for(const Tensor& x) {
  std::vector<int32_t> labels(static_cast<size_t>(x.dim(0)));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = i % 3 == 0 ? 2 : 0;
  return Tensor::from(labels, {x.dim(0)}, x.device());
}

// conv(upsample_nearest(x)): the window turned by half a turn.
OpCase up(const char* name, Shape x, Shape w) {
  return {name,
          {x, w, {w[0]}},
          {{16, 16, 16, 256}, {256, 3, 3, 256}, {256}},
          [](const In& in) {
            return styled_conv2d_up(in[0], {}, flip(in[1], {1, 2}), in[2], {.stride = 2, .transposed = true},
                                    two_by_two(1, 4), linear());
          },
          {},
          "aww",
          2.0 * 16 * 256 * 9 * 256 * 256};
}

// average_pool(conv(x)).
OpCase down(const char* name, Shape x, Shape w) {
  return {name,
          {x, w, {w[0]}},
          {{16, 32, 32, 128}, {128, 3, 3, 128}, {128}},
          [](const In& in) {
            return conv2d_down(in[0], small(in[1]), small(in[2]) + alternating(in[2], 1), two_by_two(2), {.stride = 2},
                               {.slope = 0});
          },
          {},
          "aww",
          2.0 * 16 * 256 * 9 * 128 * 128};
}

// The same divided by sigma: D's layer.
OpCase spectral_down(const char* name, Shape x, Shape w) {
  OpCase c = down(name, std::move(x), std::move(w));
  c.fn = [](const In& in) {
    return spectral_conv2d(upfirdn2d(in[0], two_by_two(2)), in[1], vectors_for(in[1].shape(), in[1]), small(in[2]),
                           {.stride = 2}, {.slope = 1});
  };
  return c;
}

// Layers whose 3x3 windows fall on what is repeated or averaged. "tiles": as large as AMX wants them.
std::vector<OpCase> resampling_cases() {
  return {
      up("nearest_conv2d", {2, 3, 2, 32}, {8, 3, 3, 32}),
      up("nearest_conv2d_tiles", {4, 2, 8, 32}, {32, 3, 3, 32}),
      down("conv2d_pool", {1, 6, 4, 16}, {32, 3, 3, 16}),
      // Its weights have no gradient.
      {"conv2d_pool_frozen",
       {{2, 4, 6, 32}, {32}},
       {{16, 32, 32, 128}, {128}},
       [](const In& in) {
         return conv2d_down(in[0], small(fixed_weights(in[1].dim(0), in[0])), small(in[1]) + alternating(in[1], 1),
                            two_by_two(2), {.stride = 2}, {.slope = 0});
       },
       {},
       "aw",
       2.0 * 16 * 256 * 9 * 128 * 128},
      spectral_down("spectral_conv2d_pool", {2, 4, 6, 16}, {32, 3, 3, 16}),
      spectral_down("spectral_conv2d_pool_tiles", {4, 4, 16, 32}, {32, 3, 3, 32}),
  };
}

}  // namespace

std::vector<OpCase> sngan_cases() {
  const Shape image{16, 32, 32, 256}, classes{16, 256};
  std::vector<OpCase> cases{
      {"upsample_nearest",
       {{2, 3, 2, 8}},
       {{16, 16, 16, 256}},
       [](const In& in) { return square(upsample_nearest(in[0])); },
       {},
       "a"},
      {"average_pool", {{2, 4, 6, 5}}, {image}, [](const In& in) { return square(average_pool(in[0], 2)); }, {}, "a"},
      {"relu", {{2, 3, 4, 5}}, {image}, [](const In& in) { return square(relu(in[0])); }, off_zero, "a"},
      {"relu_of_scores", {{7}}, {{16}}, [](const In& in) { return relu(in[0] - 0.05); }, off_zero},
      {"spectral_sigma",
       {{4, 3, 2, 5}},
       {{512, 3, 3, 512}},
       [](const In& in) { return square(spectral_sigma(in[0], vectors_for(in[0].shape(), in[0]))); }},
      {"spectral_outer",
       {{}},
       {{}},
       [](const In& in) {
         return square(spectral_outer(in[0], vectors_for({4, 3, 5}, in[0]), {4, 3, 5}));
       }},
      {"spectral_conv2d",
       {{2, 3, 4, 32}, {16, 3, 3, 32}, {16}},
       {image, {256, 3, 3, 256}, {256}},
       [](const In& in) {
         return spectral_conv2d(in[0], in[1], vectors_for(in[1].shape(), in[1]), small(in[2]) + alternating(in[2], 3),
                                {.pad = 1}, {.slope = 0});
       },
       {},
       "aww",
       2.0 * 16 * 1024 * 9 * 256 * 256},
      {"projection",
       {{4, 2, 3, 8}, {1, 8}, {1}, {3, 8}, {}, {}},
       {{16, 4, 4, 1024}, {1, 1024}, {1}, {102, 1024}, {}, {}},
       [](const In& in) {
         return square(projection(in[0], {.w = in[1],
                                          .b = in[2],
                                          .embed = in[3],
                                          .labels = labels_for(in[0]),
                                          .w_sigma = in[4] + 3.0,
                                          .embed_sigma = in[5] + 4.0}));
       },
       off_zero,
       "awwwww"},
      {"projection_without_classes",
       {{3, 2, 2, 5}, {5}, {}},
       {{16, 4, 4, 1024}, {1024}, {}},
       [](const In& in) { return square(projection(in[0], {.w = in[1], .b = in[2]})); },
       off_zero,
       "aww"},
      norm("batch_norm", {3, 2, 3, 5}, {5}, image, {256}, {}),
      norm("batch_norm_conditional", {3, 4, 8}, {3, 8}, image, classes, {}),
      norm("batch_norm_relu", {2, 2, 2, 8}, {8}, image, {256}, {.relu = true}),
      norm("batch_norm_conditional_relu", {3, 4, 6}, {3, 6}, image, classes, {.relu = true}),
      norm("batch_norm_by_averages", {2, 3, 8}, {8}, image, {256}, {.train = false}),
      norm("batch_norm_by_averages_relu", {2, 3, 6}, {2, 6}, image, classes, {.relu = true, .train = false}),
  };
  for (OpCase& more : resampling_cases()) cases.push_back(std::move(more));
  return cases;
}

}  // namespace firn::tests
