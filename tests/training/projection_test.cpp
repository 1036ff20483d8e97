// Projection of images onto styles, and directions among styles.
#include <algorithm>
#include <cmath>

#include "models/sampling.h"
#include "tests/io/io_support.h"
#include "tests/models/features_support.h"
#include "tests/models/stylegan2_support.h"
#include "training/latents/projector.h"
#include "training/latents/sefa.h"

namespace firn {
namespace {

StyleGan2Generator tiny(int size = 8) {
  StyleGan2Options o = small_stylegan2(2);
  o.height = size;
  o.z_dim = o.w_dim = 8;
  o.channel_base = 64;
  o.channel_max = 8;
  StyleGan2Generator g(o, cpu);
  for (Parameter p : g.parameters()("*.noise_strength")) p.value().copy_from(Tensor::full({}, 0.3, DType::f32, cpu));
  return g;
}

Tensor images_of(const StyleGenerator& g, int64_t n, uint64_t seed) {
  const NoGrad scope;
  return g.synthesize(g.broadcast(g.map(normal({n, g.z_dim()}, seed), {})), {});
}

std::vector<double> decibels(const Tensor& a, const Tensor& b) {
  const std::vector<Image> x = to_images(a), y = to_images(b);
  std::vector<double> all;
  for (size_t i = 0; i < x.size(); ++i) all.push_back(psnr(x[i], y[i]));
  return all;
}

double apart(const Tensor& a, const Tensor& b) {
  return std::sqrt(sum(square(a.detach() - b.detach())).item() / sum(square(b.detach())).item());
}

Tensor run(Projector& p) {
  while (!p.done()) p.step();
  p.distances();
  return p.images();
}

TEST(Projection, RecoversWhatTheNetworkItselfMade) {
  const StyleGan2Generator g = tiny();
  const Tensor targets = images_of(g, 2, 3);
  for (const bool plus : {false, true}) {
    Projector p(g, targets, nullptr, {.steps = 200, .plus = plus, .pixels = 1, .samples = 1000});
    const Tensor made = run(p);
    for (const double db : decibels(targets, made)) EXPECT_GT(db, 30) << "w" << (plus ? "+" : "");
    EXPECT_EQ(p.ws().shape(), (Shape{2, g.num_ws(), 8}));
  }
  for (const Parameter& p : g.parameters()) EXPECT_EQ(p.frozen(), p.buffer()) << p.name();  // as it was
}

TEST(Projection, ImagesSideBySideKnowNothingOfEachOther) {
  const StyleGan2Generator g = tiny(16);
  const Tensor targets = images_of(g, 2, 3);
  const ProjectionOptions options{.steps = 20, .noise = true, .shake = 0, .pixels = 1, .samples = 1000};
  Projector both(g, targets, nullptr, options);
  run(both);
  for (int64_t i = 0; i < 2; ++i) {
    Projector alone(g, slice(targets, 0, i, i + 1), nullptr, options);
    run(alone);
    EXPECT_LT(apart(slice(both.ws(), 0, i, i + 1), alone.ws()), 1e-4);
    for (size_t k = 0; k < alone.noise().size(); ++k)
      EXPECT_LT(apart(slice(both.noise()[k], 0, i, i + 1), alone.noise()[k]), 1e-3) << k;
  }
}

TEST(Projection, MapsOfNoiseAreFoundAndStayNormal) {
  const StyleGan2Generator g = tiny(16);
  // What constant noise cannot make: the same style with other noise.
  Rng rng{.seed = 9};
  const Tensor targets = [&] {
    const NoGrad scope;
    return g.synthesize(g.broadcast(g.map(normal({1, 8}, 3), {})), &rng);
  }();
  const auto found = [&](bool noise) {
    Projector p(g, targets, nullptr, {.steps = 150, .noise = noise, .noise_weight = 1, .pixels = 1, .samples = 1000});
    const Tensor made = run(p);
    EXPECT_EQ(p.noise().empty(), !noise);
    for (const Tensor& map : p.noise()) {
      double sum = 0, squares = 0;
      for (const double v : map.to_doubles()) sum += v, squares += v * v;
      EXPECT_NEAR(sum / double(map.count()), 0, 1e-5);
      EXPECT_NEAR(squares / double(map.count()), 1, 1e-4);
    }
    return decibels(targets, made)[0];
  };
  EXPECT_GT(found(true), found(false) + 3);
}

TEST(Projection, LpipsLeadsThereToo) {
  const StyleGan2Generator g = tiny(32);
  const auto network = formula_network("squeezenet/8");
  const Lpips lpips(*network, formula_weights("lpips squeezenet/8"));
  const Tensor targets = images_of(g, 1, 3);
  Projector p(g, targets, &lpips, {.steps = 60, .samples = 1000, .candidates = 0});
  p.step();
  const double before = p.distances()[0];
  run(p);
  EXPECT_LT(p.distances()[0], before / 5);
  EXPECT_NEAR(p.perceived(targets).item(), 0, 1e-6);
}

TEST(Projection, WhatIsNotFiniteIsAnError) {
  const StyleGan2Generator g = tiny();
  Projector p(g, Tensor::full({1, 8, 8, 3}, NAN, DType::f32, cpu), nullptr, {.pixels = 1, .samples = 1000});
  p.step();
  EXPECT_MENTIONS(message_of<Error>([&] { p.distances(); }), "not finite at step 1");
  EXPECT_THROW(Projector(g, images_of(g, 1, 1), nullptr, {}), ConfigError);
}

TEST(Projection, PsnrIsThatOfTheMeanSquare) {
  const Image black(2, 2, 1, 0);
  Image grey(2, 2, 1, 0);
  grey.pixels[3] = 51;
  EXPECT_NEAR(psnr(black, grey), 10 * std::log10(255.0 * 255 / (51.0 * 51 / 4)), 1e-12);
  EXPECT_TRUE(std::isinf(psnr(black, black)));
  EXPECT_THROW(psnr(black, Image(2, 3, 1)), ShapeError);
}

TEST(Sefa, DirectionsAreEigenvectorsOfTheAffines) {
  const StyleGan2Generator g = tiny();
  const std::vector<int64_t> layers{1, 2};
  const Eigen found = sefa(g, layers);
  ASSERT_EQ(found.vectors.rows, 8);
  Matrix products(8, 8);  // A^T A
  const std::vector<Parameters> affines = g.affines();
  for (const int64_t layer : layers)
    for (const Parameter& p : affines[size_t(layer)]) {
      const std::vector<double> a = p.value().to_doubles();
      for (size_t row = 0; row < a.size(); row += 8)
        for (int64_t i = 0; i < 8; ++i)
          for (int64_t j = 0; j < 8; ++j) products(i, j) += a[row + size_t(i)] * a[row + size_t(j)];
    }
  for (int64_t k = 0; k < 8; ++k) {
    EXPECT_LE(found.values[size_t(k)], found.values[size_t(std::max<int64_t>(k, 1) - 1)]);
    for (int64_t i = 0; i < 8; ++i) {
      double image = 0;
      for (int64_t j = 0; j < 8; ++j) image += products(i, j) * found.vectors(k, j);
      EXPECT_NEAR(image, found.values[size_t(k)] * found.vectors(k, i), 1e-9 * found.values[0]);
    }
    for (int64_t other = 0; other <= k; ++other) {
      double dot = 0;
      for (int64_t j = 0; j < 8; ++j) dot += found.vectors(k, j) * found.vectors(other, j);
      EXPECT_NEAR(dot, other == k ? 1 : 0, 1e-12);
    }
  }
  EXPECT_THROW(sefa(g, {g.num_ws()}), ConfigError);
}

TEST(Sefa, OneWideDirectionIsFoundFirst) {
  const StyleGan2Generator g = tiny();
  for (const Parameters& by_style : g.affines())
    for (Parameter p : by_style) {
      std::vector<double> a(size_t(p.count()));
      for (size_t i = 0; i < a.size(); ++i) a[i] = i % 8 == 5 ? -3 : i % 8 == i / 8 % 8 ? 0.1 : 0;
      p.value().copy_from(Tensor::from(std::span<const double>(a), p.value().shape(), DType::f32, cpu));
    }
  const Eigen found = sefa(g, {0});
  EXPECT_GT(found.vectors(0, 5), 0.99);
}

}  // namespace
}  // namespace firn
