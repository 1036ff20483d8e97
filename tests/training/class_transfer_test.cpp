// Transfer between sets of classes, for both models: what is the same afterwards, and what is new.
#include "models/sngan/sngan.h"
#include "tests/training/training_support.h"
#include "training/state/transfer.h"

namespace firn {
namespace {

constexpr int64_t kImages = 4;

Tensor noise(Shape shape, uint64_t seed) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, DType::f64, Device::cpu());
}

// Of this class everywhere; < 0: a model without classes.
Tensor labels(int of) {
  if (of < 0) return {};
  return Tensor::from(std::vector<int32_t>(kImages, of), {kImages}, Device::cpu());
}

Tensor generated(const TrainState& s, int of) {
  const NoGrad scope;
  return s.sampled().image(s.sampled().code(noise({kImages, 8}, 1), labels(of)));
}

Tensor judged(const TrainState& s, int of) {
  const NoGrad scope;
  const int64_t size = dynamic_cast<const SnganDiscriminator*>(&s.discriminator()) ? 32 : 8;
  return s.discriminator()(noise({kImages, size, size, 3}, 2), labels(of), 1, Mode::eval);
}

void expect_near(const Tensor& a, const Tensor& b, double tolerance = 1e-9) {
  ASSERT_EQ(a.shape(), b.shape());
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

void expect_apart(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  double most = 0;
  for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x[i] - y[i]));
  EXPECT_GT(most, 1e-3);
}

struct Classes : testing::TestWithParam<const char*> {
  Scratch scratch;
  bool sngan = std::string_view(GetParam()) == "sngan";

  TrainOptions options(int classes) const {
    TrainOptions o = sngan ? TrainOptions::of("sngan") : tiny_options(scratch / "data", DType::f64);
    if (sngan) o.model = SnganOptions{.z_dim = 8, .ch = 1, .type = DType::f64};
    ModelBasics basics = o.model.basics();
    basics.classes = classes;
    o.model.set(basics);
    o.seed = 1;
    return o;
  }

  // A state whose tensors all differ from fresh ones, and its file.
  std::pair<TrainState, SafetensorsFile> source(int classes) const {
    TrainOptions o = options(classes);
    o.seed = 3;
    TrainState state(o, Device::cpu());
    uint64_t seed = 100;
    for (const Role& role : state.roles)
      for (Parameter p : role.network->parameters()) {
        const Tensor values = noise(p.value().shape(), seed++);
        p.value().copy_from(p.name().ends_with(".avg_var") ? square(values) + 0.5 : values);
        if (role.average) Parameter(*role.average->parameters().find(p.name())).value().copy_from(p.value());
      }
    save_snapshot(scratch / "source.safetensors", o, state);
    return {std::move(state), read_safetensors(scratch / "source.safetensors")};
  }

  TrainState moved(const SafetensorsFile& file, int classes, const TransferOptions& how = {}) const {
    const TrainOptions o = options(classes);
    TrainState state(o, Device::cpu());
    const TransferReport report = transfer(state, o, file, how);
    require_most(report, source_model(file), o.model);
    return state;
  }
};

TEST_P(Classes, OfAModelWithoutAnyMakeNoDifferenceYet) {
  const auto [from, file] = source(0);
  const TrainState to = moved(file, 3);
  for (const int label : {0, 2}) expect_near(generated(to, label), generated(from, -1));
}

TEST_P(Classes, ComeAndGoWithoutATrace) {
  const auto [from, file] = source(0);
  save_snapshot(scratch / "with.safetensors", options(3), moved(file, 3));
  expect_near(generated(moved(read_safetensors(scratch / "with.safetensors"), 0), -1), generated(from, -1));
}

TEST_P(Classes, AreWhatTheMapSays) {
  const auto [from, file] = source(5);
  const TrainState to = moved(file, 2, {.class_map = {{3, 0}}});
  expect_near(generated(to, 0), generated(from, 3));
  expect_apart(generated(to, 1), generated(from, 3));
  expect_apart(generated(from, 3), generated(from, 1));
}

TEST_P(Classes, AreTheSameWhereThereAreAsMany) {
  const auto [from, file] = source(4);
  const TrainState to = moved(file, 4);
  for (const int label : {0, 3}) {
    expect_near(generated(to, label), generated(from, label));
    expect_near(judged(to, label), judged(from, label));
  }
}

TEST_P(Classes, OfAnotherNumberAreNew) {
  const auto [from, file] = source(4);
  const TrainOptions o = options(3);
  const TrainState fresh(o, Device::cpu()), to = moved(file, 3);
  const char* const table = sngan ? "l_y.weight" : "mapping.embed.weight";
  expect_near(to.discriminator().parameters().find(table)->value(),
              fresh.discriminator().parameters().find(table)->value());
}

TEST_P(Classes, OutOfTheMapsRangeAreNamed) {
  const auto [from, file] = source(4);
  const TrainOptions o = options(3);
  TrainState to(o, Device::cpu());
  EXPECT_MENTIONS(message_of<ConfigError>([&] {
                    transfer(to, o, file, {.class_map = {{4, 0}}});
                  }),
                  "--class-map 4=0: the source has classes 0 to 3, this model 0 to 2");
  EXPECT_MENTIONS(message_of<ConfigError>([&] {
                    transfer(to, o, file, {.class_map = {{0, 3}}});
                  }),
                  "--class-map 0=3: the source has classes 0 to 3, this model 0 to 2");
}

TEST_P(Classes, AModelIsKnownByItsTensors) {
  for (const int classes : {0, 3}) {
    SafetensorsFile file = source(classes).second;
    file.metadata.clear();
    SafetensorsFile d = file;
    std::erase_if(d.tensors, [](const auto& t) { return !t.first.starts_with("D."); });
    for (const SafetensorsFile& f : {file, d}) {
      const SourceModel found = source_model(f);
      EXPECT_EQ(found.model.kind(), GetParam());
      EXPECT_EQ(found.model.classes(), classes);
      EXPECT_EQ(found.model.images(), options(classes).model.images());
    }
  }
}

TEST_P(Classes, OfTheOtherModelAreNamed) {
  const auto [from, file] = source(0);
  TrainOptions o = options(0);
  o.model = sngan ? ModelSpec(StyleGan2Options{.height = 8}) : ModelSpec(SnganOptions{.ch = 1});
  o = [&] {
    TrainOptions other = TrainOptions::of(o.model.kind());
    other.model = o.model;
    return other;
  }();
  TrainState to(o, Device::cpu());
  EXPECT_MENTIONS(message_of<ConfigError>([&] { transfer(to, o, file); }), fmt::format("give --model {}", GetParam()));
}

// A row of a table that no class of the source fills is random: it may not be frozen.
TEST_P(Classes, ThatAreNewMayNotBeFrozen) {
  const auto [from, file] = source(4);
  TrainOptions o = options(3);
  o.freeze.patterns = {sngan ? "D:l_y.weight" : "D:mapping.embed.weight"};
  TrainState to(o, Device::cpu());
  const SourceModel there = source_model(file);
  EXPECT_MENTIONS(message_of<ConfigError>([&] {
                    require_frozen_copied(to, o, transfer(to, o, file, {.class_map = {{0, 0}}}), there);
                  }),
                  "frozen but not copied");
  require_frozen_copied(to, o, transfer(to, o, file, {.class_map = {{0, 0}, {1, 1}, {3, 2}}}), there);
}

TEST_P(Classes, NewTablesTrainInBlocksThatAreFrozen) {
  const auto [there, file] = source(3);
  TrainOptions o = options(2);
  o.method_names = {"freeze-g"};
  o.freeze.g_blocks = 1;
  TrainState here(o, Device::cpu());
  const TransferReport report = transfer(here, o, file);
  const std::string table = sngan ? "block2.b1.gamma" : "mapping.embed.weight",
                    kept = sngan ? "block2.c1.weight" : "mapping.fc0.weight";
  EXPECT_TRUE(here.generator().parameters().find(table)->frozen());
  EXPECT_EQ(std::ranges::count(train_new_classes(here, o, report), table), 1);
  const TrainState resumed(o, Device::cpu());
  for (const TrainState* s : std::initializer_list<const TrainState*>{&here, &resumed}) {
    const Parameters& g = s->generator().parameters();
    EXPECT_FALSE(g.find(table)->frozen());
    EXPECT_TRUE(g.find(kept)->frozen());
    EXPECT_EQ(s->role("G").adam->targets().size(), g.trainable().size());
  }

  TrainOptions same = options(3);
  same.freeze.g_blocks = 1;
  TrainState alike(same, Device::cpu());
  EXPECT_TRUE(train_new_classes(alike, same, transfer(alike, same, file)).empty());
}

INSTANTIATE_TEST_SUITE_P(Of, Classes, testing::Values("stylegan2", "sngan"),
                         [](const auto& info) { return std::string(info.param); });

using SnganClasses = Classes;

TEST_P(SnganClasses, EmbeddingsFollowTheMap) {
  const auto [from, file] = source(5);
  const TrainState to = moved(file, 2, {.class_map = {{3, 0}}});
  const std::vector<double> there = from.discriminator().parameters().find("l_y.weight")->value().to_doubles(),
                            here = to.discriminator().parameters().find("l_y.weight")->value().to_doubles();
  const size_t width = here.size() / 2;
  EXPECT_TRUE(
      std::equal(here.begin(), here.begin() + std::ptrdiff_t(width), there.begin() + std::ptrdiff_t(3 * width)));
}

// Scales and shifts of all classes become their mean.
TEST_P(SnganClasses, AreAveragedWhereThereAreNone) {
  const auto [from, file] = source(4);
  const TrainState to = moved(file, 0);
  const Tensor table = from.generator().parameters().find("block2.b1.gamma")->value();
  expect_near(to.generator().parameters().find("block2.b1.gamma")->value(), sum_to(table, {table.dim(1)}) * 0.25);
}

TEST_P(SnganClasses, BuffersStayFreshWhereThatIsAsked) {
  const auto [from, file] = source(4);
  const TrainOptions o = options(4);
  const TrainState fresh(o, Device::cpu()), with = moved(file, 4), without = moved(file, 4, {.buffers = false});
  int buffers = 0;
  for (size_t i = 0; i < fresh.roles.size(); ++i)
    for (const Parameter& p : fresh.roles[i].network->parameters()) {
      const auto in = [&](const TrainState& s) { return s.roles[i].network->parameters().find(p.name())->value(); };
      expect_near(in(with), in(from));
      expect_near(in(without), p.buffer() ? p.value() : in(from));
      buffers += p.buffer();
    }
  EXPECT_GT(buffers, 20);
}

// Their sigma is that of many iterations: one from a random vector would be too small for good.
TEST_P(SnganClasses, FrozenLayersAreSettledFromAnyVector) {
  const auto [from, file] = source(4);
  TrainOptions o = options(4);
  o.freeze.blocks = 4;
  TrainState with(o, Device::cpu()), without(o, Device::cpu());
  transfer(with, o, file);
  transfer(without, o, file, {.buffers = false});
  const Tensor images = noise({kImages, 32, 32, 3}, 2);
  for (const TrainState* s : {&with, &without}) s->discriminator().settle();
  const NoGrad scope;
  expect_near(with.discriminator().features(images), without.discriminator().features(images), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Of, SnganClasses, testing::Values("sngan"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace firn
