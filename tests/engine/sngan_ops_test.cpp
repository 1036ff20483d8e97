// Batch, spectral normalisation and the projection beyond the table of ops: what they write in place, how they are cut.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "engine/ops.h"

namespace firn::tests {
namespace {

Tensor drawn(Shape shape, uint64_t seed, DType type = DType::f32) {
  Rng rng{.seed = seed};
  return cast(randn(std::move(shape), rng, DType::f32, Device::cpu()), type);
}

Tensor full(Shape shape, double value, DType type = DType::f32) {
  return Tensor::full(std::move(shape), value, type, Device::cpu());
}

void expect_near(const Tensor& a, const Tensor& b, double tolerance) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

struct Norm {
  Tensor x, y, avg_mean, avg_var;
};

Norm normalized(const Tensor& x, BatchNorm p) {
  const int64_t C = x.dim(-1);
  Norm n{x, {}, full({C}, 0, x.type()), full({C}, 1, x.type())};
  p.avg_mean = n.avg_mean;
  p.avg_var = n.avg_var;
  n.y = batch_norm(x, full({C}, 1, x.type()), full({C}, 0, x.type()), p);
  return n;
}

TEST(BatchNorm, MovesItsAveragesByTheUnbiasedVariance) {
  const std::vector<double> x{1, -1, 3, 5, 5, 8};  // channels: 1, 3, 5 and -1, 5, 8
  const Norm n = normalized(Tensor::from(x, {3, 2}, DType::f64, Device::cpu()), {.decay = 0.75});
  EXPECT_EQ(n.avg_mean.to_doubles(), (std::vector<double>{0.75, 1}));
  EXPECT_EQ(n.avg_var.to_doubles(), (std::vector<double>{0.75 + 0.25 * 4, 0.75 + 0.25 * 21}));
  const std::vector<double> y = n.y.to_doubles();
  EXPECT_NEAR(y[0], -2 / std::sqrt(8.0 / 3 + 2e-5), 1e-12);  // the batch is normalised by the biased one
  EXPECT_NEAR(y[5], 4 / std::sqrt(14 + 2e-5), 1e-12);
}

TEST(BatchNorm, LeavesItsAveragesAloneWhenItGoesByThem) {
  const Norm n = normalized(drawn({4, 3, 8}, 1), {.train = false});
  expect_near(n.y, n.x, 2e-4);  // mean 0, variance 1 + eps
  EXPECT_EQ(n.avg_mean.to_doubles(), std::vector<double>(8, 0));
  EXPECT_EQ(n.avg_var.to_doubles(), std::vector<double>(8, 1));
}

TEST(BatchNorm, KeepsASmallVarianceBesideALargeMean) {
  const Tensor x = drawn({16, 40, 65}, 2) + 4096;  // several parts; what x itself has lost is the same in both
  const Norm low = normalized(x, {}), exact = normalized(cast(x, DType::f64), {});
  expect_near(low.y, exact.y, 2e-3);  // the mean of so large numbers is known to 2^-12
  for (const double v : low.avg_var.to_doubles()) EXPECT_NEAR(v, 1, 0.1);
  expect_near(low.avg_var, exact.avg_var, 1e-4);
}

TEST(BatchNorm, GivesTheSameForAnyNumberOfThreads) {
  const auto result = [](int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    const Tensor x = drawn({8, 65, 96}, 3).require_grad(), gamma = drawn({8, 96}, 4).require_grad();
    const Tensor y = batch_norm(x, gamma, drawn({8, 96}, 5), {.relu = true});
    const std::vector<Tensor> g = grad(sum(y * drawn({8, 65, 96}, 6)), {x, gamma});
    omp_set_num_threads(before);
    return std::vector{y.to_floats(), g[0].to_floats(), g[1].to_floats()};
  };
  EXPECT_EQ(result(1), result(3));
}

TEST(BatchNorm, SaysWhatDoesNotFit) {
  const Tensor x = drawn({4, 3, 8}, 1);
  EXPECT_THROW(batch_norm(x, full({4}, 1), full({4}, 0)), ShapeError);
  EXPECT_THROW(batch_norm(x, full({4, 8}, 1), full({8}, 0)), ShapeError);
  EXPECT_THROW(batch_norm(x, full({8}, 1), full({8}, 0), {.train = false}), ShapeError);
  EXPECT_THROW(batch_norm(x, full({8}, 1, DType::f64), full({8}, 0)), ShapeError);
}

// What one iteration is, in double.
Spectral by_hand(const Tensor& w, std::vector<double> u) {
  const std::vector<double> m = w.to_doubles();
  const size_t O = u.size(), R = m.size() / O;
  const auto normalize = [](std::vector<double>& x) {
    double s = 0;
    for (const double v : x) s += v * v;
    for (double& v : x) v /= std::sqrt(s) + 1e-12;
    return std::sqrt(s);
  };
  std::vector<double> v(R, 0), s(O, 0);
  for (size_t i = 0; i < m.size(); ++i) v[i % R] += u[i / R] * m[i];
  normalize(v);
  for (size_t i = 0; i < m.size(); ++i) s[i / R] += m[i] * v[i % R];
  const double sigma = normalize(s);
  const auto tensor = [](const std::vector<double>& x) {
    return Tensor::from(x, {int64_t(x.size())}, DType::f64, Device::cpu());
  };
  return {tensor(s), tensor(v), full({}, sigma, DType::f64)};
}

TEST(SpectralNorm, IteratesAllLayersInThreeLaunches) {
  std::vector<SpectralLayer> layers;
  std::vector<std::vector<double>> before;
  for (const Shape& shape : {Shape{64, 3, 3, 3}, {1, 70}, {96, 3, 3, 65}, {5, 1, 1, 8}, {520, 3, 3, 130}}) {
    layers.push_back({drawn(shape, layers.size()), drawn({shape[0]}, 50 + layers.size()), layers.size() % 2 == 0});
    before.push_back(layers.back().u.to_doubles());
  }
  const LaunchCounter launches;
  const std::vector<Spectral> found = power_iteration(layers);
  EXPECT_EQ(launches.counts(),
            (std::map<std::string, int64_t>{{"spectral_columns", 1}, {"spectral_rows", 1}, {"spectral_norms", 1}}));
  for (size_t i = 0; i < layers.size(); ++i) {
    const Spectral expected = by_hand(layers[i].w, before[i]);
    expect_near(found[i].u, expected.u, 1e-6);
    expect_near(found[i].v, expected.v, 1e-6);
    EXPECT_NEAR(found[i].sigma.item() / expected.sigma.item(), 1, 1e-6);
    EXPECT_EQ(layers[i].u.to_doubles(), layers[i].keep ? found[i].u.to_doubles() : before[i]);
  }
}

TEST(SpectralNorm, FindsTheLargestSingularValue) {
  Tensor w = full({6, 3, 3, 4}, 0);  // but for two rows: lengths 3 and 2, product sqrt(12)
  w = w + embed(full({1, 3, 3, 4}, 0.5), 0, 2, 6) +
      embed(embed(full({1, 1, 3, 4}, 2 / std::sqrt(12.0)), 1, 0, 3), 0, 4, 6);
  const std::vector<Spectral> s = power_iteration({{w, full({6}, 1)}}, 40);
  EXPECT_NEAR(s[0].sigma.item(), std::sqrt(6.5 + std::sqrt(2.5 * 2.5 + 12)), 1e-5);
}

TEST(SpectralNorm, SeveralIterationsAreAsManyCalls) {
  const Tensor w = drawn({40, 3, 3, 5}, 1), u = drawn({40}, 2), v = drawn({40}, 2);
  const Spectral at_once = power_iteration({{w, u}}, 3)[0];
  power_iteration({{w, v}});
  power_iteration({{w, v}});
  EXPECT_EQ(power_iteration({{w, v, false}})[0].sigma.item(), at_once.sigma.item());
  EXPECT_EQ(u.to_doubles(), at_once.u.to_doubles());
}

TEST(SpectralNorm, GivesTheSameForAnyNumberOfThreads) {
  const auto result = [](int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    const Spectral s = power_iteration({{drawn({600, 3, 3, 150}, 1), drawn({600}, 2)}})[0];
    omp_set_num_threads(before);
    return std::vector{s.u.to_floats(), s.v.to_floats(), s.sigma.to_floats()};
  };
  EXPECT_EQ(result(1), result(3));
}

TEST(SpectralNorm, SaysWhatDoesNotFit) {
  const Tensor w = drawn({4, 3, 3, 2}, 1);
  EXPECT_THROW(power_iteration({{w, full({3}, 1)}}), ShapeError);
  EXPECT_THROW(power_iteration({{w, full({4}, 1)}}, 0), ShapeError);
  EXPECT_THROW(spectral_sigma(w, {full({4}, 1), full({4}, 1)}), ShapeError);
}

TEST(SpectralLayer, AFrozenWeightLaunchesNoWeightGradient) {
  const Tensor x = drawn({2, 5, 4, 3}, 1, DType::f64).require_grad(), w = drawn({6, 3, 3, 3}, 2, DType::f64);
  const Tensor b = drawn({6}, 3, DType::f64);
  const Spectral s = power_iteration({{w, drawn({6}, 4, DType::f64)}})[0];
  const auto backward = [&](const Tensor& weights) {
    const Tensor y = sum(square(spectral_conv2d(x, weights, s, b, {.pad = 1}, {.slope = 0})));
    const LaunchCounter launches;
    const Tensor gx = grad(y, {x, weights})[0];
    EXPECT_EQ(launches["conv_backward_weights_reference"], weights.wants_grad());
    EXPECT_EQ(launches["outer_add"], weights.wants_grad());
    EXPECT_EQ(launches["spectral_act_grad"], 1);
    return gx.to_doubles();
  };
  EXPECT_EQ(backward(w), backward(w.require_grad()));
}

TEST(Projection, SaysWhatDoesNotFit) {
  const Tensor x = drawn({2, 3, 8}, 1), w = drawn({1, 8}, 2), b = full({1}, 0), embed = drawn({3, 8}, 3);
  const auto labels = [](std::vector<int32_t> l) { return Tensor::from(l, {int64_t(l.size())}, Device::cpu()); };
  EXPECT_EQ(projection(x, {.w = w, .b = b, .embed = embed, .labels = labels({2, 0})}).shape(), (Shape{2, 1}));
  EXPECT_THROW(projection(x, {.w = w, .b = b, .embed = embed}), ShapeError);
  EXPECT_THROW(projection(x, {.w = w, .b = b, .embed = embed, .labels = labels({2, 3})}), ShapeError);
  EXPECT_THROW(projection(x, {.w = w, .b = b, .embed = embed, .labels = labels({2})}), ShapeError);
  EXPECT_THROW(projection(x, {.w = b, .b = b}), ShapeError);
}

// The values of a layer, and its gradients by x, w and b, agree with those of the convolution that it stands for.
void expect_same_layer(const std::function<Tensor(const Tensor& x, const Tensor& w, const Tensor& b)>& layer,
                       const std::function<Tensor(const Tensor& x, const Tensor& w)>& meant) {
  const Tensor x = drawn({2, 6, 4, 5}, 1, DType::f64).require_grad(), b = drawn({7}, 3, DType::f64).require_grad();
  const Tensor w = drawn({7, 3, 3, 5}, 2, DType::f64).require_grad();
  const Tensor y = layer(x, w, b), z = meant(x, w) + b;
  ASSERT_EQ(y.shape(), z.shape());
  expect_near(y, z, 1e-12);
  const Tensor weights = drawn(y.shape(), 4, DType::f64);
  const std::vector<Tensor> g = grad(sum(y * weights), {x, w, b}), h = grad(sum(z * weights), {x, w, b});
  for (size_t i = 0; i < g.size(); ++i) expect_near(g[i], h[i], 1e-12);
}

TEST(Resampling, AWindowOverWhatIsRepeatedIsATransposedConvolution) {
  expect_same_layer(
      [](const Tensor& x, const Tensor& w, const Tensor& b) {
        const Tensor turned = flip(w, {1, 2});
        return styled_conv2d_up(x, {}, turned, b, {.stride = 2, .transposed = true}, two_by_two(1, 4), linear());
      },
      [](const Tensor& x, const Tensor& w) { return conv2d(upsample_nearest(x), w, {.pad = 1}); });
}

TEST(Resampling, AMeanOfWindowsIsAConvolutionOfStrideTwo) {
  const auto pooled = [](const Tensor& x, const Tensor& w) { return average_pool(conv2d(x, w, {.pad = 1})); };
  expect_same_layer([](const Tensor& x, const Tensor& w,
                       const Tensor& b) { return conv2d_down(x, w, b, two_by_two(2), {.stride = 2}, linear()); },
                    pooled);
  const Spectral s = power_iteration({{drawn({7, 3, 3, 5}, 2, DType::f64), drawn({7}, 5, DType::f64)}}, 5)[0];
  expect_same_layer(
      [&](const Tensor& x, const Tensor& w, const Tensor& b) {
        return spectral_conv2d(upfirdn2d(x, two_by_two(2)), w, {s.u, s.v}, b, {.stride = 2}, {.slope = 1});
      },
      [&](const Tensor& x, const Tensor& w) {
        return pooled(x, w) / spectral_sigma(w, {s.u, s.v});
      });
}

TEST(Pooling, WantsEvenSizes) {
  EXPECT_THROW(average_pool(drawn({1, 3, 4, 2}, 1)), ShapeError);
  EXPECT_THROW(upsample_nearest(drawn({1, 3, 2}, 1)), ShapeError);
}

}  // namespace
}  // namespace firn::tests
