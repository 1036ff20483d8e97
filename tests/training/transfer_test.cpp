// What a transfer takes over: the source's shape, its colour layers, and what may not stay new.
#include <cmath>

#include "tests/training/training_support.h"
#include "training/state/colours.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

Tensor generated(const Generator& g, const Tensor& z) {
  const NoGrad scope;
  return g.image(g.code(z, {}));
}

// As to_channels converts bytes, in [-1,1].
Tensor converted(const Tensor& nhwc, int channels) {
  const int from = int(nhwc.dim(3));
  const ColourMap map(from, channels);
  const std::vector<double> in = nhwc.to_doubles();
  std::vector<double> out;
  for (size_t pixel = 0; pixel < in.size() / size_t(from); ++pixel)
    for (int n = 0; n < channels; ++n) {
      out.push_back(map.offset[size_t(n)]);
      for (int c = 0; c < from; ++c) out.back() += map(n, c) * in[pixel * size_t(from) + size_t(c)];
    }
  Shape shape = nhwc.shape();
  shape[3] = channels;
  return Tensor::from(std::span<const double>(out), shape, nhwc.type(), nhwc.device());
}

void expect_near(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-10) << i;
}

Tensor noise(Shape shape, uint64_t seed) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, DType::f64, Device::cpu());
}

struct TransferTest : testing::Test {
  Scratch scratch;
  TrainOptions options = tiny_options(write_images(scratch / "data", 8), DType::f64);

  // A source whose tensors all differ from fresh ones, biases too, as a file.
  SafetensorsFile source_file(TrainOptions o) {
    o.seed = 3;
    TrainState state(o, Device::cpu());
    uint64_t seed = 100;
    for (const Parameters* p :
         {&state.generator().parameters(), &state.discriminator().parameters(), &state.sampled().parameters()})
      for (Parameter parameter : *p) parameter.value().copy_from(noise(parameter.value().shape(), seed++));
    save_snapshot(scratch / "source.safetensors", o, state);
    return read_safetensors(scratch / "source.safetensors");
  }
};
using Colours = TransferTest;
using Source = TransferTest;
using Transferred = TransferTest;

TEST(ColourMaps, AreWhatImagesAreConvertedBy) {
  for (const int from : {1, 3, 4})
    for (const int to : {1, 3, 4}) {
      Image image = pattern(8, 8, from, from);
      if (from == 4)
        for (size_t i = 3; i < image.pixels.size(); i += 4) image.pixels[i] = 255;
      std::vector<float> values;
      for (const uint8_t v : image.pixels) values.push_back(float(v) / 127.5f - 1);
      const Tensor tensor = Tensor::from(std::span<const float>(values), {1, 8, 8, from}, DType::f64, Device::cpu());
      const std::vector<float> floats = converted(tensor, to).to_floats();
      EXPECT_EQ(image_from_floats(floats, 8, 8, to, -1, 1), to_channels(image, to)) << from << " to " << to;
    }
}

// G makes the source's images, converted, and D finds in images what it found in the converted ones.
TEST_F(Colours, AreCarriedOverExactly) {
  for (const Architecture architecture : {Architecture::skip, Architecture::resnet})
    for (const int from : {1, 3, 4})
      for (const int to : {1, 3, 4}) {
        TrainOptions there = options, here = options;
        model_of(there).img_channels = from;
        model_of(here).img_channels = to;
        model_of(there).g_architecture = model_of(here).g_architecture = architecture;
        model_of(there).d_architecture = model_of(here).d_architecture = Architecture::resnet;
        const SafetensorsFile file = source_file(there);
        TrainState source(there, Device::cpu()), target(here, Device::cpu());
        transfer(source, there, file);
        const TransferReport report = transfer(target, here, file);
        for (const auto& n : report.networks) {
          EXPECT_TRUE(n.fresh.empty() && n.skipped.empty()) << to_string(report);
          EXPECT_EQ(n.carried.empty(), from == to);
        }
        const Tensor z = noise({2, 8}, 1), images = noise({4, 8, 8, to}, 2);
        SCOPED_TRACE(fmt::format("{} to {}", from, to));
        expect_near(generated(target.sampled(), z), converted(generated(source.sampled(), z), to));
        const NoGrad scope;
        expect_near(target.discriminator()(images), source.discriminator()(converted(images, from)));
      }
}

TEST_F(Colours, AreCountedInTheReport) {
  const SafetensorsFile file = source_file(options);
  TrainOptions grey = options;
  model_of(grey).img_channels = 1;
  TrainState target(grey, Device::cpu());
  const std::string text = to_string(transfer(target, grey, file));
  EXPECT_MENTIONS(text, "4 carried over, 0 skipped, 0 newly initialised");
  EXPECT_MENTIONS(text, "b8.fromrgb.weight: from 3 to 1 channels");
}

// What tensors tell, for options of every kind.
TEST_F(Source, TensorsTellTheModel) {
  std::vector<StyleGan2Options> models(5, model_of(options));
  models[1].g_architecture = models[1].d_architecture = Architecture::resnet;
  models[1].mapping_layers = 3;
  models[2].g_architecture = Architecture::orig;
  models[2].d_architecture = Architecture::skip;
  models[2].height = 16;
  models[2].width = 24;
  models[2].channel_max = 12;
  models[3].c_dim = 5;
  models[3].img_channels = 1;
  models[3].w_dim = 4;
  models[3].z_dim = 6;
  models[4].d_architecture = Architecture::orig;
  models[4].img_channels = 4;
  models[4].mbstd_channels = 2;
  for (const StyleGan2Options& model : models) {
    TrainOptions o = options;
    o.model = model;
    SafetensorsFile file = source_file(o);
    file.metadata.clear();
    const SourceModel source = source_model(file);
    EXPECT_TRUE(source.g && source.d && !source.described);
    EXPECT_EQ(shape_differences(source, model), "");
    const StyleGan2Options& m = source.model.as<StyleGan2Options>();
    EXPECT_EQ(std::tuple(m.height, m.width, m.img_channels, m.c_dim, m.z_dim, m.w_dim, m.mapping_layers),
              std::tuple(model.height, model.width ? model.width : model.height, model.img_channels, model.c_dim,
                         model.z_dim, model.w_dim, model.mapping_layers));
    EXPECT_EQ(std::tuple(m.g_architecture, m.d_architecture, m.mbstd_channels),
              std::tuple(model.g_architecture, model.d_architecture, model.mbstd_channels));
    for (const int block : model.blocks()) EXPECT_EQ(m.channels(block), model.channels(block));
    const StyleGan2Generator g(m, Device::cpu());
    StyleGan2Options doubles = m;
    doubles.type = DType::f64;
    const StyleGan2Generator same(doubles, Device::cpu());
    load_network(same, file, "G_ema");
  }
}

TEST_F(Source, OneNetworkAloneTellsItsPart) {
  SafetensorsFile file = source_file(options);
  file.metadata.clear();
  SafetensorsFile average = file, d = file;
  std::erase_if(average.tensors, [](const auto& t) { return !t.first.starts_with("G_ema."); });
  std::erase_if(d.tensors, [](const auto& t) { return !t.first.starts_with("D."); });
  EXPECT_TRUE(source_model(average).g);
  EXPECT_FALSE(source_model(average).d);
  EXPECT_EQ(source_model(average).model.as<StyleGan2Options>().z_dim, 8);
  EXPECT_FALSE(source_model(d).g);
  EXPECT_EQ(source_model(d).model.as<StyleGan2Options>().channel_max, 8);
  ModelSpec here = StyleGan2Options{};
  EXPECT_EQ(take_shape(here, source_model(d), [](const Option&) { return false; }),
            "channel base 64, channel max 8, D resnet");
  EXPECT_EQ(here.as<StyleGan2Options>().mapping_layers, StyleGan2Options{}.mapping_layers);
}

TEST_F(Source, HostileTensorsAreOneLine) {
  const SafetensorsFile good = [&] {
    SafetensorsFile file = source_file(options);
    file.metadata.clear();
    return file;
  }();
  const auto broken = [&](auto&& change) {
    SafetensorsFile file = good;
    change(file.tensors);
    return message_of([&] { source_model(file); });
  };
  EXPECT_MENTIONS(broken([](auto& t) { t.clear(); }), "no tensor of G, G_ema or D");
  EXPECT_MENTIONS(broken([](auto& t) { t.erase("G.synthesis.b8.conv1.weight"); }), "synthesis.b4.conv1 and b8.conv1");
  EXPECT_MENTIONS(broken([](auto& t) { t.erase("G.mapping.fc0.weight"); }), "G.mapping.fc0.weight");
  EXPECT_MENTIONS(broken([](auto& t) { t["G.mapping.fc0.weight"].shape = {1 << 20, 1 << 20}; }), "which no StyleGAN2");
  EXPECT_MENTIONS(broken([](auto& t) { t["G.synthesis.b4.const"].shape = {8, 0, 4}; }), "which no StyleGAN2");
  EXPECT_MENTIONS(broken([](auto& t) { t["G.synthesis.b4.const"].shape = {8, 5, 5}; }), "StyleGAN2");
  EXPECT_MENTIONS(broken([](auto& t) { t["G.synthesis.b8.conv1.weight"].shape = {8192, 1, 1, 1}; }), "b8.conv1.weight");
  EXPECT_MENTIONS(broken([](auto& t) { t["G.synthesis.b8.conv1.weight"].shape = {9, 9, 3, 3}; }), "min(base / size");
}

TEST_F(Source, WhatTheUserSetIsNotTaken) {
  TrainOptions o = options;
  model_of(o).conv_clamp = 256;
  const SourceModel source = source_model(source_file(o));
  const Overlay set{{"--channel-max", "4"}, {"--map-depth", "2"}};
  TrainOptions here = TrainOptions::of("stylegan2");
  EXPECT_EQ(configure(here, {8, 8, 3}, 0, set, &source), "channel base 64, z 8, w 8, G skip, D resnet, clamp 256");
  const StyleGan2Options& m = model_of(here);
  EXPECT_EQ(std::tuple(m.mapping_layers, m.channel_max, m.z_dim, m.mbstd_group), std::tuple(2, 4, 8, 2));
}

TEST_F(Transferred, MoreThanATenthLostOrNewIsRefused) {
  TrainOptions deep = options, shallow = options;
  model_of(deep).mapping_layers = 8;
  for (const auto& [from, to] : {std::pair{&deep, &shallow}, {&shallow, &deep}}) {
    const SafetensorsFile file = source_file(*from);
    TrainState target(*to, Device::cpu());
    const TransferReport report = transfer(target, *to, file);
    EXPECT_MENTIONS(
        message_of<ConfigError>([&] { require_most(report, source_model(file), to->model); }),
        fmt::format("of G, for the source has --map-depth {} (here {}); make that the same, or give --init-partial",
                    model_of(*from).mapping_layers, model_of(*to).mapping_layers));
  }
  const SafetensorsFile file = source_file(options);
  TrainState same(options, Device::cpu());
  require_most(transfer(same, options, file), source_model(file), options.model);
  TrainOptions other = options;
  model_of(other).channel_max = 4;
  TrainState narrow(other, Device::cpu());
  EXPECT_MENTIONS(
      message_of<ConfigError>([&] { require_most(transfer(narrow, other, file), source_model(file), other.model); }),
      "--channel-max 8 (here 4)");
}

TEST_F(Transferred, AnotherNumberOfClassesIsLittle) {
  TrainOptions five = options, two = options;
  model_of(five).c_dim = 5;
  model_of(two).c_dim = 2;
  const SafetensorsFile file = source_file(five);
  TrainState target(two, Device::cpu());
  const TransferReport report = transfer(target, two, file);
  EXPECT_EQ(report.networks[0].fresh.size(), 1u);
  require_most(report, source_model(file), two.model);
}

// What a method keeps of its own comes from no file.
TEST_F(Transferred, NetworksOfMethodsAreLeftOut) {
  const SafetensorsFile file = source_file(options);
  TrainState target(options, Device::cpu());
  const TransferReport before = transfer(target, options, file);
  target.roles.emplace_back("source", make_discriminator(options.model, Device::cpu()));
  target.roles.back().of_method = true;
  target.roles.back().network->parameters().freeze();
  const TransferReport report = transfer(target, options, file);
  EXPECT_EQ(report.networks.size(), before.networks.size());
  require_most(report, source_model(file), options.model);
  require_frozen_copied(target, options, report, source_model(file));
}

// G's first layer grows with classes as it does with latents, and D's mapping network has names that G's has, too.
TEST_F(Transferred, NothingElseIsTakenForOtherClasses) {
  TrainOptions longer = options;
  model_of(longer).z_dim = 16;
  const SafetensorsFile file = source_file(options);
  TrainState target(longer, Device::cpu());
  const TransferReport report = transfer(target, longer, file);
  EXPECT_TRUE(report.networks[0].carried.empty());
  EXPECT_EQ(report.networks[0].fresh.size(), 1u);

  TrainOptions deep = options;
  model_of(deep).mapping_layers = 8;
  model_of(deep).c_dim = 5;
  TrainState conditional(deep, Device::cpu());
  EXPECT_MENTIONS(
      message_of<ConfigError>([&] { require_most(transfer(conditional, deep, file), source_model(file), deep.model); }),
      "of G, for the source has --map-depth 1 (here 8)");
}

TEST_F(Transferred, AFileWithoutDLeavesDNewButNotFrozen) {
  SafetensorsFile file = source_file(options);
  std::erase_if(file.tensors, [](const auto& t) { return t.first.starts_with("D."); });
  TrainState target(options, Device::cpu());
  const TransferReport report = transfer(target, options, file);
  require_most(report, source_model(file), options.model);
  require_frozen_copied(target, options, report, source_model(file));
  target.discriminator().parameters()("b8.*").freeze();
  EXPECT_MENTIONS(
      message_of<ConfigError>([&] { require_frozen_copied(target, options, report, source_model(file)); }),
      "D: b8.fromrgb.weight, b8.fromrgb.bias, b8.conv0.weight, b8.conv0.bias, b8.conv1.weight, b8.conv1.bias, "
      "b8.skip.weight; the file holds no D");
}

TEST_F(Transferred, WhatIsFrozenMustHaveBeenCopied) {
  const SafetensorsFile file = source_file(options);
  TrainOptions o = options;
  model_of(o).d_architecture = Architecture::skip;
  TrainState target(o, Device::cpu());
  const TransferReport report = transfer(target, o, file);
  target.discriminator().parameters()("b8.*").freeze();
  require_frozen_copied(target, o, report, source_model(file));
  target.discriminator().parameters()("b4.fromrgb.*").freeze();
  const std::string message =
      message_of<ConfigError>([&] { require_frozen_copied(target, o, report, source_model(file)); });
  EXPECT_MENTIONS(message, "D: b4.fromrgb.weight, b4.fromrgb.bias; the source has --d-arch resnet (here skip)");
  EXPECT_MENTIONS(message_of<ConfigError>([&] { require_frozen_copied(target); }), "there is no --init");
}

// Frozen after a change of channels: carried over counts as copied.
TEST_F(Transferred, FrozenColourLayersMayBeCarriedOver) {
  const SafetensorsFile file = source_file(options);
  TrainOptions grey = options;
  model_of(grey).img_channels = 1;
  TrainState target(grey, Device::cpu());
  target.discriminator().parameters()("b8.*").freeze();
  require_frozen_copied(target, grey, transfer(target, grey, file), source_model(file));
}

TEST_F(Transferred, WeightsThatAreNotFiniteAreNamed) {
  for (const double bad : {std::nan(""), double(INFINITY)}) {
    SafetensorsFile file = source_file(options);
    std::memcpy(file.tensors["D.b4.fc.weight"].bytes.data() + 80, &bad, sizeof bad);
    TrainState state(options, Device::cpu());
    EXPECT_MENTIONS(message_of([&] { transfer(state, options, file); }),
                    "D.b4.fc.weight has values that are not finite");
    EXPECT_MENTIONS(message_of([&] { restore(state, file); }), "D.b4.fc.weight has values that are not finite");
  }
}

}  // namespace
}  // namespace firn
