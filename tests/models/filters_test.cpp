// Freezing by filters: the weight gradient leaves frozen rows out, and nothing else changes.
#include "models/filters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "models/freeze.h"
#include "models/sngan/sngan.h"
#include "tests/models/stylegan2_support.h"
#include "tests/training/phase_support.h"

namespace firn {
namespace {

struct Networks : Subject {
  explicit Networks(DType type = DType::f64)
      : Subject(small_stylegan2(4, type)),
        in(batch_of({{"z", normal({4, 16}, 1, type)},
                     {"images", normal({4, 32, 32, 3}, 2, type)},
                     {"pl_noise", normal({4, 32, 32, 3}, 3, type)}})) {}
  PhaseResult run(const std::string& phase) { return Subject::run(phase, in); }
  Inputs in;
};

std::vector<double> rows(const std::vector<double>& all, int64_t of, const std::vector<int32_t>& numbers) {
  const auto row = std::ptrdiff_t(all.size() / size_t(of));
  std::vector<double> some;
  for (const int32_t n : numbers) some.insert(some.end(), all.begin() + n * row, all.begin() + (n + 1) * row);
  return some;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, const std::string& name,
                 double tolerance = 1e-12) {
  ASSERT_EQ(a.size(), b.size()) << name;
  double scale = 0;
  for (const double v : b) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance * scale) << name;
}

// Every gradient of the masked network is the other's, of the rows that train.
void expect_rest_unchanged(const std::vector<std::string>& patterns) {
  for (const std::string phase : {"Gmain", "Greg", "Dmain", "Dreg"}) {
    Networks free, frozen;
    apply({.patterns = patterns}, frozen.g(), frozen.d());
    const PhaseResult all = free.run(phase), some = frozen.run(phase);
    const Parameters of_all = free.trained_by(phase).trainable(), of_some = frozen.trained_by(phase).trainable();
    for (size_t i = 0, k = 0; i < of_some.size(); ++i) {
      const Parameter& p = of_some[i];
      while (of_all[k].name() != p.name()) ++k;
      const std::vector<double> expected = all.gradients[k].to_doubles();
      ASSERT_EQ(some.gradients[i].count(), p.trains()) << p.name();
      expect_near(some.gradients[i].to_doubles(),
                  p.rows() ? rows(expected, p.value().dim(0), p.rows()->numbers) : expected, phase + " " + p.name());
    }
  }
}

TEST(Filters, GradientsOfTheRestAreUnchanged) {
  expect_rest_unchanged({"D:*:0-0"});  // of the last layer, its only filter
  expect_rest_unchanged({"D:b32.*,b16.conv1:1,3-6", "D:b4.conv,b4.fc:2-14"});
  expect_rest_unchanged({"D:b32.*", "D:b8.*:0-7", "D:b8.conv0:10"});
}

TEST(Filters, GradientsOfGeneratorsFollowThroughUpsampling) {
  expect_rest_unchanged({"G:synthesis.b*.conv?:0-3,6"});
  expect_rest_unchanged({"G:mapping.*:0-7", "G:*.affine:1-2", "G:*.torgb:1", "G:synthesis.b16.*"});
}

// A layer that is differentiated twice, against finite differences: f(w) = |d sum(act(conv(x, w))) / dx|^2.
TEST(Filters, SecondOrderAgreesWithFiniteDifferences) {
  const Tensor x = normal({2, 5, 5, 3}, 1, DType::f64).require_grad(), w = normal({4, 3, 3, 3}, 2, DType::f64);
  const auto mask = std::make_shared<const TrainedRows>(std::vector<int32_t>{1, 3}, 4, cpu);
  const auto slopes = [&](const Tensor& weights) {
    const Tensor y = softplus(conv2d(x, weights, {.pad = 1}));
    return sum(square(grad(y, {x}, {.create_graph = true})[0]));
  };
  const Tensor leaf = require_grad(w, mask), found = grad(slopes(leaf), {leaf})[0];
  EXPECT_EQ(found.shape(), (Shape{2, 3, 3, 3}));
  std::vector<double> values = w.to_doubles(), expected;
  for (const int row : {1, 3})
    for (int i = 0; i < 27; ++i) {
      const auto at = [&](double step) {
        std::vector<double> moved = values;
        moved[size_t(row * 27 + i)] += step;
        return slopes(Tensor::from(std::span<const double>(moved), w.shape(), DType::f64, cpu)).item();
      };
      expected.push_back((at(1e-5) - at(-1e-5)) / 2e-5);
    }
  expect_near(found.to_doubles(), expected, "w", 1e-7);
}

// The gradient of a gradient by rows is one of ops, too.
TEST(Filters, AWeightGradientOfRowsCanBeDifferentiated) {
  const Tensor x = normal({2, 5, 5, 3}, 1, DType::f64).require_grad(), w = normal({4, 3, 3, 3}, 2, DType::f64);
  const auto mask = std::make_shared<const TrainedRows>(std::vector<int32_t>{0, 2}, 4, cpu);
  const auto by_x = [&](const Tensor& leaf, bool pick) {
    Tensor g = grad(sum(square(conv2d(x, leaf, {.stride = 2}))), {leaf}, {.create_graph = true})[0];
    if (pick) g = gather(g, mask->index);
    return grad(sum(square(g)), {x})[0].to_doubles();
  };
  expect_near(by_x(require_grad(w, mask), false), by_x(w.require_grad(), true), "x");
}

TEST(Filters, SpectralLayersPassWhatFrozenFiltersGiveSigma) {
  for (const bool down : {false, true}) {
    const Tensor x = normal({2, 6, 6, 8}, 1, DType::f64), w = normal({16, 3, 3, 8}, 2, DType::f64),
                 b = normal({16}, 3, DType::f64);
    const Spectral s = power_iteration({{w, normal({16}, 4, DType::f64)}})[0];
    const auto mask = std::make_shared<const TrainedRows>(std::vector<int32_t>{0, 1, 5, 9, 15}, 16, cpu);
    const auto gradient = [&](const Tensor& leaf, const Tensor& bias, bool twice) {
      const Tensor y =
          spectral_conv2d(x, leaf, s, bias, down ? Conv2d{.stride = 2} : Conv2d{.pad = 1}, {.slope = down ? 1.0 : 0.0});
      const GradOptions how{.create_graph = twice};
      return grad(sum(y * y * 0.5 + y), {leaf}, how)[0].to_doubles();
    };
    for (const Tensor& bias : {b, b.require_grad(), Tensor{}})
      for (const bool twice : {false, true})
        expect_near(gradient(require_grad(w, mask), bias, twice),
                    rows(gradient(w.require_grad(), bias, twice), 16, mask->numbers), "w");
  }
}

// Launches and shapes: the weight gradient multiplies the channels that train, in multiples of 16.
TEST(Filters, TheWeightGradientReadsTheChannelsThatTrain) {
  const Tensor x = normal({2, 8, 8, 64}, 1), w = normal({64, 3, 3, 64}, 2);
  for (const auto& [first, products, picked] : {std::tuple{32, 1, 1}, {48, 1, 1}, {0, 1, 0}}) {
    std::vector<int32_t> numbers;
    for (int32_t i = first; i < 64; ++i) numbers.push_back(i);
    Parameter p("w", w);
    p.train_rows(numbers);
    const Tensor y = conv2d(x, p(), {.pad = 1});
    const LaunchCounter launches;
    EXPECT_EQ(grad(sum(y), {p()})[0].dim(0), 64 - first);
    EXPECT_EQ(launches["conv_backward_weights"], products);
    EXPECT_EQ(launches["pick_channels"], picked);
    EXPECT_EQ(launches["gather"], 0);
  }
}

TEST(Filters, ParametersCountWhatTrains) {
  Parameter p("w", normal({4, 3}, 1));
  p.train_rows({1, 2});
  EXPECT_EQ(p.trains(), 6);
  EXPECT_EQ(p.count(), 12);
  {
    Parameters list;
    list.add(p);
    const FrozenScope scope(list);
    EXPECT_EQ(p.trains(), 0);
    EXPECT_FALSE(p().wants_grad());
  }
  EXPECT_EQ(p.trains(), 6);  // the scope gives the rows back
  EXPECT_EQ(rows_of(p())->numbers, (std::vector<int32_t>{1, 2}));
  p.train_rows({0, 1, 2, 3});
  EXPECT_EQ(p.rows(), nullptr);
  p.train_rows({});
  EXPECT_TRUE(p.frozen());
  EXPECT_THROW(p.train_rows({4}), ShapeError);
  EXPECT_THROW(p.train_rows({1, 1}), ShapeError);
}

TEST(Filters, AdamKeepsMomentsOfTheRowsThatTrain) {
  for (const double beta1 : {0.0, 0.9}) {
    Parameter all("w", normal({5, 7}, 1)), some("w", normal({5, 7}, 1)), average("w", normal({5, 7}, 2));
    some.train_rows({0, 1, 3});
    const auto list = [](const Parameter& p) {
      Parameters l;
      l.add(p);
      return l;
    };
    Adam whole(list(all), {.beta1 = beta1}), part(list(some), {.beta1 = beta1});
    EXPECT_EQ(part.second_moment(0).shape(), (Shape{3, 7}));
    part.keep_averages(list(average));
    const std::vector<double> before = some.value().to_doubles(), averaged = average.value().to_doubles();
    for (int i = 0; i < 20; ++i) {
      const Tensor g = normal({5, 7}, 10 + uint64_t(i));
      whole.step({g});
      part.step({gather(g, some.rows()->index)});
    }
    const std::vector<double> now = some.value().to_doubles(), expected = all.value().to_doubles();
    EXPECT_EQ(rows(now, 5, {0, 1, 3}), rows(expected, 5, {0, 1, 3}));
    EXPECT_EQ(rows(now, 5, {2, 4}), rows(before, 5, {2, 4}));
    EXPECT_THROW(part.step({normal({5, 7}, 1)}), ShapeError);
    part.advance(0.5);
    part.apply({normal({3, 7}, 1)});
    EXPECT_EQ(rows(average.value().to_doubles(), 5, {2, 4}), rows(averaged, 5, {2, 4}));
    update_average(list(average), list(some), 0, Part::frozen);
    EXPECT_EQ(rows(average.value().to_doubles(), 5, {2, 4}), rows(before, 5, {2, 4}));
    EXPECT_NE(rows(average.value().to_doubles(), 5, {0}), rows(some.value().to_doubles(), 5, {0}));
  }
}

std::vector<std::string> names(const FilterPattern& pattern, const Parameters& parameters) {
  std::vector<std::string> found;
  for (const FilterLayer& layer : pattern.layers(parameters)) found.push_back(layer.name);
  return found;
}

TEST(FilterPattern, NamesLayersAndFilters) {
  Networks n(DType::f32);
  const Parameters &d = n.d().parameters(), &g = n.g().parameters();
  EXPECT_EQ(names(FilterPattern("D:b16.*,b4.fc:0-3"), d),
            (std::vector<std::string>{"b16.conv0", "b16.conv1", "b16.skip", "b4.fc"}));
  EXPECT_EQ(names(FilterPattern("G:synthesis.b8.conv0:1"), g), (std::vector<std::string>{"synthesis.b8.conv0"}));
  const FilterLayer layer = FilterPattern("D:b16.conv0:0").layers(d)[0];
  EXPECT_EQ(FilterPattern("D:b16.conv0:0-3,7,9-9").listed(layer), (std::vector<int32_t>{0, 1, 2, 3, 7, 9}));
  EXPECT_EQ(to_pattern(true, layer, {0, 1, 2, 3, 7, 9}), "D:b16.conv0:0-3,7,9");
  for (const char* wrong : {"D:b16.conv0:", "D:b16.conv0:3-1", "D:b16.conv0:x", "D:b16.conv0:1,,2", "D:b16.conv0:1:2",
                            "D:b16.conv0:-1", "D:b16.conv0:99999999999", "D:b16.conv0:fisher>q101",
                            "D:b16.conv0:fisher=q5", "D:b16.conv0:fisher>q", "D:b16.conv0:fisher>50", "D::0", "b16:0"})
    EXPECT_THROW(FilterPattern{wrong}, ConfigError) << wrong;
  for (const char* wrong : {"D:b64.conv0:0", "D:b16.conv0.bias:0", "D:b16.conv0:16", "D:b16:0", "D:b64.*:fisher>q50"})
    EXPECT_THROW(apply({.patterns = {wrong}}, n.g(), n.d()), ConfigError) << wrong;
  // Rows of a table of classes are no filters.
  const SnganDiscriminator sngan({.c_dim = 3, .z_dim = 4, .ch = 2}, cpu);
  EXPECT_FALSE(std::ranges::count(names(FilterPattern("D:*:0"), sngan.parameters()), "l_y"));
}

TEST(FilterPattern, TheQuantileParts) {
  const std::vector<double> information = {5, 1, 3, 2, 8, 7, 6, 4};
  const auto chosen = [&](const char* filters) {
    return FilterPattern(fmt::format("D:*:{}", filters)).chosen(information);
  };
  EXPECT_EQ(chosen("fisher>q50"), (std::vector<int32_t>{0, 4, 5, 6}));
  EXPECT_EQ(chosen("fisher<q50"), (std::vector<int32_t>{1, 2, 3, 7}));
  EXPECT_EQ(chosen("fisher<q75").size(), 6u);
  EXPECT_EQ(chosen("fisher>q25").size(), 6u);
  EXPECT_EQ(chosen("fisher>q100").size(), 0u);
  EXPECT_EQ(chosen("fisher>q0").size(), 7u);
  EXPECT_TRUE(FilterPattern("D:*:fisher>q50").chosen({3}).empty());  // the only one of its layer
}

TEST(FreezeTable, CountsFiltersAndTheWorkThatIsGone) {
  Networks n(DType::f32);
  apply({.blocks = 1, .patterns = {"D:b*.conv0:0-7", "D:b8.conv0:8-15"}}, n.g(), n.d());
  const Parameters& d = n.d().parameters();
  EXPECT_TRUE(d.find("b8.conv0.weight")->frozen());  // all of them: as by name
  EXPECT_TRUE(d.find("b8.conv0.bias")->frozen());
  EXPECT_EQ(d.find("b16.conv0.weight")->rows()->count(), 8);
  EXPECT_EQ(d.find("b16.conv0.bias")->rows()->count(), 8);
  const FreezeTable table = freeze_table(n.d());
  EXPECT_EQ(table.frozen, d("b32.*", "b8.conv0.*").count() + d("b16.conv0.*").count() / 2);
  EXPECT_EQ(table.total - table.frozen, d.trains());
  const std::string text = to_string(table);
  EXPECT_NE(text.find("b16.conv0.weight"), text.npos);
  EXPECT_NE(text.find("8 of 16 filters frozen\n"), text.npos);
  EXPECT_NE(text.find("; 8 of 16 filters of layers that train are frozen\n"), text.npos);

  n.d().parameters()("b8.conv0.*", "b32.*").unfreeze();
  for (const char* name : {"b8.conv0.weight", "b8.conv0.bias"}) {
    std::vector<int32_t> all(16);
    for (int32_t i = 0; i < 16; ++i) all[size_t(i)] = i;
    Parameter(*d.find(name)).train_rows(all);
  }
  const auto layers = n.d().layers();
  const auto b16 = std::ranges::find(layers, "b16.conv0", &Discriminator::Layer::name);
  const auto b32 = std::ranges::find(layers, "b32.conv0", &Discriminator::Layer::name);
  EXPECT_EQ(d.find("b32.conv0.weight")->rows(), nullptr);  // it was frozen as a whole before
  EXPECT_NE(b32, layers.end());
  EXPECT_DOUBLE_EQ(backward_flops(n.d()), backward_flops(n.d(), true) - b16->flops / 2);
}

}  // namespace
}  // namespace firn
