// StyleGAN2's shapes, counts, modes and options; its values are checked in golden_test.cpp.
#include "models/stylegan2/stylegan2.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "models/files.h"
#include "tests/models/stylegan2_support.h"
#include "tests/training/phase_support.h"
#include "training/step/feed.h"

namespace firn {
namespace {

void set(const Parameters& parameters, const std::string& name, double value) {
  Parameter p = *parameters.find(name);
  p.value().copy_from(Tensor::full(p.value().shape(), value, p.value().type(), cpu));
}

// Root mean square of the difference, relative to that of b.
double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  double difference = 0, scale = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    scale += y[i] * y[i];
  }
  return std::sqrt(difference / std::max(scale, 1e-300));
}

Tensor generate(const StyleGan2Generator& g, const Tensor& z, const Noise& noise = NoiseMode::none,
                const Tensor& labels = {}) {
  const NoGrad scope;
  return g.synthesize(g.broadcast(g.map(z, labels)), noise);
}

struct Counts {
  const char* name;
  StyleGan2Options options;
  int64_t g, g_buffers, d;
  int num_ws;
};

TEST(StyleGan2, CountsAreThoseOfThePublishedConfigurations) {
  const std::vector<Counts> published = {
      {"paper256", {.height = 256, .mapping_layers = 8}, 24767458, 175568, 24001089, 14},
      {"auto at 64", {.height = 64, .mapping_layers = 2}, 22243608, 11632, 23407361, 10},
      {"cifar",
       {.height = 32, .channel_base = 32768, .mapping_layers = 2, .d_architecture = Architecture::orig},
       19947539,
       3392,
       20720641,
       8},
  };
  for (const auto& [name, options, g_count, g_buffers, d_count, num_ws] : published) {
    const StyleGan2Generator g(options, cpu);
    const Parameters trained = g.parameters().without_buffers();
    EXPECT_EQ(trained.count(), g_count) << name;
    // Files also hold the 4x4 resampling filter of each block and convolution, which is a constant here.
    const int64_t blocks = static_cast<int64_t>(options.blocks().size()), filters = blocks + 2 * blocks - 1;
    EXPECT_EQ(g.parameters().count() - trained.count() + 16 * filters, g_buffers) << name;
    EXPECT_EQ(StyleGan2Discriminator(options, cpu).parameters().count(), d_count) << name;
    EXPECT_EQ(options.num_ws(), num_ws) << name;
  }
}

TEST(StyleGan2, ImagesOfEveryShapePassThroughBothNetworks) {
  struct Size {
    int height, width, channels, start_height, start_width;
  };
  for (const auto [height, width, channels, start_height, start_width] :
       {Size{8, 8, 1, 4, 4}, Size{16, 32, 3, 4, 8}, Size{32, 16, 4, 8, 4}, Size{16, 24, 3, 4, 6}})
    for (const Architecture a : {Architecture::orig, Architecture::skip, Architecture::resnet}) {
      StyleGan2Options o = small_stylegan2(2);
      o.height = height, o.width = width, o.img_channels = channels, o.g_architecture = o.d_architecture = a;
      const StyleGan2Generator g(o, cpu);
      const StyleGan2Discriminator d(o, cpu);
      const Tensor images = generate(g, normal({2, 16}, 1), NoiseMode::constant);
      EXPECT_EQ(images.shape(), (Shape{2, height, width, channels}));
      EXPECT_EQ(d(images).shape(), (Shape{2, 1}));
      EXPECT_EQ(g.parameters().find("synthesis.b4.const")->value().shape(), (Shape{16, start_height, start_width}));
      EXPECT_EQ(d.parameters().find("b4.fc.weight")->value().dim(1), 16 * start_height * start_width);
    }
}

TEST(StyleGan2, OptionsThatContradictEachOtherAreRefused) {
  const auto refused = [](auto change) {
    StyleGan2Options o = small_stylegan2(2);
    change(o);
    EXPECT_THROW(o.check(), ConfigError);
  };
  EXPECT_NO_THROW(small_stylegan2(2).check());
  refused([](auto& o) { o.height = 48; });
  refused([](auto& o) { o.height = 4; });
  refused([](auto& o) { o.height = 2048; });
  refused([](auto& o) { o.width = 33; });
  refused([](auto& o) { o.img_channels = 2; });
  refused([](auto& o) { o.mbstd_channels = 3; });
  refused([](auto& o) { o.channel_base = 16; });
  refused([](auto& o) { o.type = DType::f64, o.activation_type = DType::bf16; });
}

TEST(StyleGan2, TheSeedDecidesTheWeights) {
  const StyleGan2Generator a(small_stylegan2(2), cpu), b(small_stylegan2(2), cpu);
  StyleGan2Options other = small_stylegan2(2);
  other.seed = 8;
  const Tensor z = normal({2, 16}, 1);
  EXPECT_EQ(generate(a, z).to_floats(), generate(b, z).to_floats());
  EXPECT_NE(generate(a, z).to_floats(), generate(StyleGan2Generator(other, cpu), z).to_floats());
  EXPECT_EQ(StyleGan2Discriminator(small_stylegan2(2), cpu)(generate(a, z)).to_floats(),
            StyleGan2Discriminator(small_stylegan2(2), cpu)(generate(b, z)).to_floats());
}

TEST(StyleGan2, TruncationPullsOnlyTheFirstWsTowardsTheAverage) {
  StyleGan2Generator g(small_stylegan2(2), cpu);
  g.update_w_avg(g.map(normal({64, 16}, 3), {}).detach());
  const Tensor w = g.map(normal({2, 16}, 1), {}), average = g.parameters().find("mapping.w_avg")->value();
  const Tensor expected = average + (w - average) * 0.7;
  const Tensor ws = g.broadcast(w, {.psi = 0.7, .cutoff = 3});
  ASSERT_EQ(ws.shape(), (Shape{2, 8, 16}));
  for (int i = 0; i < 8; ++i)
    EXPECT_LT(distance(reshape(slice(ws, 1, i, i + 1), {2, 16}), i < 3 ? expected : w), 1e-6) << i;
  EXPECT_LT(distance(reshape(slice(g.broadcast(w, {.psi = 0.7}), 1, 7, 8), {2, 16}), expected), 1e-6);
  EXPECT_EQ(g.broadcast(w, {.psi = 0.7, .cutoff = 0}).to_floats(), g.broadcast(w).to_floats());
  EXPECT_LT(
      distance(reshape(slice(g.broadcast(w, {.psi = 0}), 1, 0, 1), {2, 16}), expand(average, {2, 16}, DType::f32)),
      1e-6);
}

TEST(StyleGan2, MixingTakesTheLaterWsFromTheSecondStyle) {
  const StyleGan2Generator g(small_stylegan2(2), cpu);
  const Tensor a = g.map(normal({2, 16}, 1), {}), b = g.map(normal({2, 16}, 2), {}), ws = g.mix(a, b, g.mixing(5));
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(reshape(slice(ws, 1, i, i + 1), {2, 16}).to_floats(), (i < 5 ? a : b).to_floats()) << i;
  EXPECT_THROW(g.mixing(0), ConfigError);
  EXPECT_THROW(g.mixing(9), ConfigError);
  EXPECT_THROW(g.mix(a, b, slice(g.mixing(5), 0, 0, 7)), ShapeError);
}

TEST(StyleGan2, TheAverageMovesByHalfAPercent) {
  StyleGan2Generator g(small_stylegan2(2), cpu);
  set(g.parameters(), "mapping.w_avg", 2);
  g.update_w_avg(Tensor::full({4, 16}, 10, DType::f32, cpu));
  for (float v : g.parameters().find("mapping.w_avg")->value().to_floats())
    EXPECT_FLOAT_EQ(v, 0.995f * 2 + 0.005f * 10);
}

TEST(StyleGan2, NoiseIsAddedWithItsStrength) {
  const StyleGan2Generator g(small_stylegan2(2), cpu);
  const Tensor z = expand(normal({1, 16}, 1), {2, 16}, DType::f32);
  Rng rng{.seed = 5};
  EXPECT_EQ(generate(g, z, &rng).to_floats(), generate(g, z).to_floats());  // strengths start at 0
  for (const Parameter& p : g.parameters()("*.noise_strength")) set(g.parameters(), p.name(), 0.5);
  const auto image = [](const Tensor& images, int64_t i) { return slice(images, 0, i, i + 1).to_floats(); };
  const Tensor constant = generate(g, z, NoiseMode::constant), random = generate(g, z, &rng);
  EXPECT_NE(constant.to_floats(), generate(g, z).to_floats());
  EXPECT_EQ(image(constant, 0), image(constant, 1));
  EXPECT_NE(image(random, 0), image(random, 1));
  Rng first{.seed = 9}, second{.seed = 9};
  EXPECT_EQ(generate(g, z, &first).to_floats(), generate(g, z, &second).to_floats());
  EXPECT_THROW(generate(g, z, NoiseMode::random), ConfigError);
}

TEST(StyleGan2, GivenNoiseIsConstantNoiseWhenItsMapsAreTheBuffers) {
  const StyleGan2Generator g(small_stylegan2(2), cpu);
  for (const Parameter& p : g.parameters()("*.noise_strength")) set(g.parameters(), p.name(), 0.5);
  const Tensor z = normal({2, 16}, 1);
  std::vector<Tensor> maps = g.noise_maps();
  const auto constant = generate(g, z, NoiseMode::constant).to_floats();
  EXPECT_EQ(generate(g, z, maps).to_floats(), constant);
  EXPECT_EQ(maps.size(), g.parameters()("*.noise_const").size());
  for (Tensor& m : maps) m = expand(m, {2, m.dim(1), m.dim(2)}, m.type());  // one for each image
  EXPECT_EQ(generate(g, z, maps).to_floats(), constant);
  maps[0] = maps[2];
  EXPECT_THROW(generate(g, z, maps), ShapeError);
  maps.pop_back();
  EXPECT_THROW(generate(g, z, maps), ShapeError);
}

TEST(StyleGan2, GradientsOfGivenNoiseAreThoseOfFiniteDifferences) {
  StyleGan2Options o = small_stylegan2(2);
  o.height = 8;
  o.type = DType::f64;
  const StyleGan2Generator g(o, cpu);
  for (const Parameter& p : g.parameters()("*.noise_strength")) set(g.parameters(), p.name(), 0.5);
  const Tensor ws = g.broadcast(g.map(normal({1, 16}, 1, DType::f64), {})).detach();
  const auto loss = [&](const std::vector<Tensor>& maps) { return sum(square(g.synthesize(ws, maps))); };
  std::vector<Tensor> maps = g.noise_maps();
  for (Tensor& m : maps) m = m.detach().require_grad();
  const std::vector<Tensor> gradients = grad(loss(maps), maps);
  constexpr double step = 1e-5;
  for (size_t i = 0; i < maps.size(); ++i)
    for (const size_t at : {size_t{0}, size_t(maps[i].count() - 3)}) {
      const auto moved = [&](double by) {
        std::vector<double> values = maps[i].to_doubles();
        values[at] += by;
        std::vector<Tensor> other = maps;
        other[i] = Tensor::from(values, maps[i].shape(), DType::f64, cpu);
        return loss(other).item();
      };
      const double expected = (moved(step) - moved(-step)) / (2 * step);
      EXPECT_NEAR(gradients[i].to_doubles()[at], expected, 1e-6 * (1 + std::abs(expected))) << i << " " << at;
    }
}

TEST(StyleGan2, AffinesAreTheWeightsThatEachStyleReaches) {
  const StyleGan2Generator g(small_stylegan2(2), cpu);
  const std::vector<Parameters> affines = g.affines();
  ASSERT_EQ(int(affines.size()), g.num_ws());
  const Tensor ones = Tensor::full({1, 1, g.w_dim()}, 1, DType::f32, cpu);
  for (int i = 0; i < g.num_ws(); ++i) {
    std::vector<Tensor> parts(size_t(g.num_ws()), ones * 0.0);
    parts[size_t(i)] = ones;
    const Parameters all = g.parameters()("*.affine.weight");
    const std::vector<Tensor> gradients = grad(sum(square(g.synthesize(concat(parts, 1), {}))), all.tensors());
    for (size_t k = 0; k < all.size(); ++k) {
      const bool named =
          std::ranges::any_of(affines[size_t(i)], [&](const auto& p) { return p.name() == all[k].name(); });
      EXPECT_EQ(sum(square(gradients[k])).item() > 0, named) << i << " " << all[k].name();
    }
  }
}

TEST(StyleGan2, LabelsConditionBothNetworks) {
  const auto labels = [](const std::vector<int>& classes) { return class_labels(classes, 3, cpu); };
  StyleGan2Options o = small_stylegan2(2);
  o.c_dim = 3;
  const StyleGan2Generator g(o, cpu);
  const StyleGan2Discriminator d(o, cpu);
  const Tensor z = normal({2, 16}, 1), a = labels({0, 2}), b = labels({1, 2});
  const Tensor images = generate(g, z, NoiseMode::none, a), others = generate(g, z, NoiseMode::none, b);
  EXPECT_NE(slice(images, 0, 0, 1).to_floats(), slice(others, 0, 0, 1).to_floats());
  EXPECT_EQ(slice(images, 0, 1, 2).to_floats(), slice(others, 0, 1, 2).to_floats());
  EXPECT_NE(d(images, a).to_floats()[0], d(images, b).to_floats()[0]);
  const Tensor mixtures = one_hot(a, 3, DType::f32);  // a share of each class
  EXPECT_EQ(d(images, mixtures).to_floats(), d(images, a).to_floats());
  EXPECT_THROW(g.map(z, {}), ConfigError);
  EXPECT_THROW(d(images), ConfigError);
  EXPECT_THROW(StyleGan2Generator(small_stylegan2(2), cpu).map(z, a), ConfigError);
  EXPECT_THROW(d(normal({2, 16, 32, 3}, 1), a), ShapeError);
}

TEST(StyleGan2, SegmentsAreSeparateBatches) {
  const StyleGan2Discriminator d(small_stylegan2(2), cpu);
  const Tensor a = normal({4, 32, 32, 3}, 1), b = normal({4, 32, 32, 3}, 2) * 0.3;
  const Tensor both = concat({a, b}, 0), together = d(both, {}, 2);
  EXPECT_LT(distance(together, concat({d(a), d(b)}, 0)), 1e-5);
  EXPECT_GT(distance(d(both), together), 1e-3);  // one segment would mix reals and fakes
}

// Rounding to bf16 is 2^-9 relative; some twenty roundings in a row that do not agree with each other grow as a root
// (0.01 is seen). In gradients a unit within rounding of 0 also exchanges its slope 1 for 0.2, which for four samples
// of sixteen units weighs much (over ten draws 0.1 is the median, 0.4 the most).
constexpr double kBf16Tolerance = 0.02, kBf16GradientTolerance = 0.5;

TEST(StyleGan2, Bf16ActivationsStayCloseToF32) {
  for (const Architecture a : {Architecture::orig, Architecture::skip, Architecture::resnet}) {
    StyleGan2Options o = small_stylegan2(2);
    o.g_architecture = o.d_architecture = a;
    Subject full(o);
    o.activation_type = DType::bf16;
    Subject half(o);
    const Tensor z = normal({4, 16}, 1);
    const Inputs in =
        batch_of({{"z", z}, {"images", normal({4, 32, 32, 3}, 2)}, {"pl_noise", normal({4, 32, 32, 3}, 3)}});
    const Tensor images = generate(full.g(), z, NoiseMode::constant),
                 images16 = generate(half.g(), z, NoiseMode::constant);
    EXPECT_EQ(images16.type(), DType::f32);
    EXPECT_LT(distance(images16, images), kBf16Tolerance);
    EXPECT_LT(distance(half.d()(images), full.d()(images)), kBf16Tolerance);

    for (const Phase& phase : full.phases) {
      const PhaseResult low = half.run(phase.name, in), high = full.run(phase.name, in);
      EXPECT_NEAR(low["loss"].item(), high["loss"].item(), 0.05 * std::abs(high["loss"].item())) << phase.name;
      ASSERT_EQ(low.gradients.size(), high.gradients.size());
      // All gradients as one vector: small ones of a few numbers may be off by more.
      double difference = 0, scale = 0;
      for (size_t i = 0; i < high.gradients.size(); ++i) {
        EXPECT_EQ(low.gradients[i].type(), DType::f32);
        difference += sum(square(low.gradients[i] - high.gradients[i])).item();
        scale += sum(square(high.gradients[i])).item();
      }
      EXPECT_LT(std::sqrt(difference / scale), kBf16GradientTolerance) << phase.name;
    }
  }
}

TEST(StyleGan2, LayersOfDCoverItsParametersFrontToBack) {
  for (const Architecture a : {Architecture::orig, Architecture::skip, Architecture::resnet}) {
    StyleGan2Options o = small_stylegan2(2);
    o.d_architecture = a;
    const StyleGan2Discriminator d(o, cpu);
    std::vector<std::string> names, all;
    for (const auto& layer : d.layers()) names.insert(names.end(), layer.parameters.begin(), layer.parameters.end());
    for (const Parameter& p : d.parameters()) all.push_back(p.name());
    EXPECT_EQ(names, all);
  }
  const auto layers = StyleGan2Discriminator(small_stylegan2(2), cpu).layers();
  EXPECT_EQ(layers[0].name, "b32.fromrgb");
  EXPECT_EQ(layers[2].name, "b32.conv1");
  EXPECT_EQ(layers[2].flops, 2.0 * 16 * 16 * 16 * 8 * 9);
}

TEST(StyleGan2, MicroBatchesAddUpToTheBatch) {
  StyleGan2Options o = small_stylegan2(2);
  o.type = DType::f64;
  Subject s(o);
  const Tensor z = normal({4, 16}, 1, DType::f64), images = normal({4, 32, 32, 3}, 2, DType::f64);
  // Samples n and n + 2 form a group in the whole batch, and so they do here.
  const auto parts = [](const Tensor& x) {
    const auto one = [&](int64_t i) { return slice(x, 0, i, i + 1); };
    return concat({one(0), one(2), one(1), one(3)}, 0);
  };
  const PhaseResult whole = s.run("Dmain", batch_of({{"z", z}, {"images", images}})),
                    sum = s.run("Dmain", batch_of({{"z", parts(z)}, {"images", parts(images)}}), 2);
  EXPECT_NEAR(whole["loss"].item(), sum["loss"].item(), 1e-12);
  for (size_t i = 0; i < whole.gradients.size(); ++i)
    EXPECT_LT(distance(sum.gradients[i], whole.gradients[i]), 1e-9) << s.d().parameters()[i].name();
}

TEST(StyleGan2, PhasesMixStylesAndAverageOnlyTheFirst) {
  Subject s(options_of(small_stylegan2(2), {.style_mixing = 1}));
  StyleGan2Generator& g = s.g();
  const Tensor z = normal({4, 16}, 1), other = normal({4, 16}, 2);
  const Tensor w = g.map(z, {}).detach();
  Rng rng{.seed = 1}, same = rng;
  for (const auto& feed : s.phase("Gmain").feeds) feed->refresh(rng);
  same.uniform();  // below 1: it mixes
  const int cutoff = static_cast<int>(same.integer(1, g.num_ws()));
  const Tensor logits = s.d()(g.synthesize(g.mix(w, g.map(other, {}), g.mixing(cutoff)), NoiseMode::none));
  const PhaseResult mixed = s.run("Gmain", batch_of({{"z", z}, {"z_mix", other}}));
  EXPECT_NEAR(mixed["fake_score"].item(), mean(logits).item(), 1e-6);
  EXPECT_NEAR(mixed["loss"].item(), mean(softplus(-logits)).item(), 1e-6);
  const Tensor average = g.parameters().find("mapping.w_avg")->value();
  EXPECT_LT(distance(average, reshape(mean_axes(w, {0}), {16}) * 0.005), 1e-5);
}

TEST(Weights, FilesHoldOihw) {
  const std::vector<float> memory = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};  // [O=2,K=2,K=2,I=2]
  const Parameter p("w", Tensor::from(memory, {2, 2, 2, 2}, DType::f32, cpu));
  const std::vector<float> file = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  EXPECT_EQ(to_file_order<float>(p), file);
  EXPECT_EQ(file_shape(Parameter("w", Tensor::zeros({5, 3, 3, 7}, DType::f32, cpu))), (Shape{5, 7, 3, 3}));
  const Parameter q("w", Tensor::zeros({2, 2, 2, 2}, DType::f32, cpu));
  load_file_order<float>(q, file);
  EXPECT_EQ(q.value().to_floats(), memory);
  EXPECT_TRUE(q.value().wants_grad());
  EXPECT_THROW(load_file_order<float>(q, std::span(file).first(3)), ShapeError);
}

}  // namespace
}  // namespace firn
