// tests/golden/published: files of other programs, against what their networks make.
#include "models/published.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/random.h"
#include "io/npz.h"
#include "io/weights.h"
#include "models/files.h"
#include "models/stylegan2/files.h"
#include "models/stylegan2/stylegan2.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

const std::filesystem::path folder = std::filesystem::path(FIRN_TEST_DATA) / "golden/published";
const Device cpu = Device::cpu();

const SafetensorsFile& expected() {
  static const SafetensorsFile file = read_safetensors(folder / "expected.safetensors");
  return file;
}

Tensor in_double(const StoredTensor& t) {
  return Tensor::from(std::span<const double>(t.to_doubles()), t.shape, DType::f64, cpu);
}

// NHWC against NCHW
void expect_images(const Tensor& images, const std::string& name) {
  const std::vector<double> a = permute(images, {0, 3, 1, 2}).to_doubles(), b = expected().at(name).to_doubles();
  ASSERT_EQ(a.size(), b.size()) << name;
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-6 * (1 + std::abs(b[i]))) << name << " " << i;
}

struct Networks {
  explicit Networks(const char* name) : read(read_published(folder / name)), source(source_model(read.file)) {
    source.model.set_types(DType::f64, DType::f64);
  }
  std::unique_ptr<Generator> g(const char* name = "G_ema") const {
    std::unique_ptr<Generator> made = make_generator(source.model, cpu);
    load_network(*made, read.file, name);
    return made;
  }
  Tensor images(double psi = 1, const char* name = "G_ema") const {
    const NoGrad no_grad;
    const std::unique_ptr<Generator> made = g(name);
    const Tensor z = slice(in_double(expected().at("z")), 1, 0, made->z_dim());
    Tensor labels;
    if (made->classes()) labels = Tensor::from(std::vector<int32_t>{1, 1}, {2}, cpu);
    return made->image(made->code(z, labels, {.psi = psi}));
  }
  Tensor logits() const {
    const NoGrad no_grad;
    const std::unique_ptr<Discriminator> d = make_discriminator(source.model, cpu);
    load_network(*d, read.file, "D");
    return (*d)(permute(in_double(expected().at("images")), {0, 2, 3, 1}));
  }
  PublishedNetworks read;
  SourceModel source;
};

void expect_logits(const Tensor& logits, const std::string& name) {
  const std::vector<double> a = logits.to_doubles(), b = expected().at(name).to_doubles();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-6 * (1 + std::abs(b[i]))) << name;
}

TEST(Published, NvidiasPicklesMakeTheirImages) {
  const Networks n("nvidia.pkl");
  EXPECT_EQ(n.read.format, "stylegan2-ada-pytorch");
  expect_images(n.images(), "nvidia.g");
  const auto& o = n.source.model.as<StyleGan2Options>();
  EXPECT_EQ(o.conv_clamp, 2);  // which no tensor tells
  EXPECT_EQ(o.mapping_layers, 2);
  EXPECT_TRUE(n.source.d);
  const auto said = nlohmann::json::parse(n.read.file.metadata.at("published"));
  EXPECT_EQ(said["values"]["training_set_kwargs.xflip"], "true");
  EXPECT_EQ(said["values"]["training_set_kwargs.max_size"], "100");
}

TEST(Published, WhatIsNoNetworkIsNamedWithItsModule) {
  const std::vector<std::string> over = Networks("nvidia.pkl").read.passed_over;
  EXPECT_EQ(over, (std::vector<std::string>{"cvD.judge: vision_aided_loss.cv_discriminator.Judge",
                                            "augment_pipe: 1 tensors", "cvD: 2 tensors"}));
}

TEST(Published, RosinalitysFilesMakeTheirImagesAndLogits) {
  const Networks n("rosinality.pt");
  expect_images(n.images(), "rosinality.g");
  expect_images(n.images(1, "G"), "rosinality.g");
  expect_logits(n.logits(), "rosinality.d");
}

TEST(Published, AnAverageOfWThatIsMissingIsThatOfManyLatents) {
  const Networks n("rosinality.pt");
  const std::unique_ptr<Generator> g = n.g();
  Rng rng{.seed = 9};
  const NoGrad no_grad;
  const Tensor w = dynamic_cast<StyleGenerator&>(*g).map(randn({20000, g->z_dim()}, rng, DType::f64, cpu), {});
  const std::vector<double> mean = mean_axes(w, {0}).to_doubles(),
                            there = n.read.file.at("G_ema.mapping.w_avg").to_doubles();
  const double spread = std::sqrt(mean_axes(square(w - mean_axes(w, {0})), {0, 1}).item());
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(mean[i], there[i], 0.1 * spread);
}

TEST(Published, TensorFlowsPicklesMakeTheirImagesAndLogits) {
  const Networks n("tensorflow.pkl");
  expect_images(n.images(0.5), "tensorflow.g");
  EXPECT_EQ(n.source.model.as<StyleGan2Options>().mbstd_group, 3);
  expect_logits(n.logits(), "tensorflow.d");
}

TEST(Published, ChainersArchivesMakeTheirImages) {
  const Networks n("chainer_g.npz");
  expect_images(n.images(1, "G"), "chainer.g");
  const Networks d("chainer_d.npz");
  EXPECT_EQ(d.source.model.classes(), 3);
  const SafetensorsFile both = merged(n.read.file, d.read.file);
  const SourceModel source = source_model(both);
  EXPECT_TRUE(source.g && source.d && source.described);
  EXPECT_EQ(source.model.basics().z_dim, 6);
  EXPECT_MENTIONS(message_of([&] { merged(n.read.file, n.read.file); }), "both hold");
}

// Whose networks are held against a reference elsewhere: here that each tensor comes through, of what trained.
TEST(Published, FreezeDsFilesHaveTheSizeThatTheyWereTrainedAt) {
  const Networks n("stylegan.model");
  EXPECT_EQ(n.read.format, "rosinality/style-based-gan-pytorch");
  EXPECT_EQ(n.source.model.images().height, 16);
  const SafetensorsFile raw = read_weights(folder / "stylegan.model");
  const std::pair<const char*, const char*> same[] = {
      {"G_ema.generator.progression.2.conv2.conv.weight_orig",
       "g_running.generator.progression.2.conv2.conv.weight_orig"},
      {"G.style.3.linear.bias", "generator.style.3.linear.bias"},
      {"G.generator.to_rgb.2.conv.weight_orig", "generator.generator.to_rgb.2.conv.weight_orig"},
      {"D.progression.6.conv2.1.conv.weight_orig", "discriminator.progression.6.conv2.1.conv.weight_orig"},
      {"D.from_rgb.6.0.conv.bias", "discriminator.from_rgb.6.0.conv.bias"},
      {"D.linear.linear.weight_orig", "discriminator.linear.linear.weight_orig"}};
  for (const auto& [ours, theirs] : same) EXPECT_EQ(n.read.file.at(ours).bytes, raw.at(theirs).bytes) << ours;
  for (const char* none : {"G.generator.progression.3.noise1.weight_orig", "G.generator.to_rgb.1.conv.bias",
                           "D.progression.5.conv1.0.conv.bias", "D.from_rgb.7.0.conv.bias"})
    EXPECT_FALSE(n.read.file.contains(none)) << none;
  const std::unique_ptr<Generator> g = n.g();
  const NoGrad no_grad;
  Rng rng;
  EXPECT_TRUE(std::isfinite(sum(g->image(g->code(randn({2, 4}, rng, DType::f64, cpu), {}, {.psi = 0.7}))).item()));
  EXPECT_NE(n.read.file.at("G_ema.w_avg").to_floats(), std::vector<float>(4));
}

TEST(Published, NamesWithoutAPrefixAreOfOneNetwork) {
  Scratch scratch;
  const SafetensorsFile whole = read_networks(folder / "nvidia.pkl");
  for (const std::string network : {"G_ema.", "D."}) {
    SafetensorsFile bare;
    for (const auto& [name, t] : whole.tensors)
      if (name.starts_with(network)) bare.tensors[name.substr(network.size())] = t;
    write_safetensors(scratch / "bare.safetensors", bare);
    const SafetensorsFile read = read_networks(scratch / "bare.safetensors");
    EXPECT_TRUE(has_network(read, network.substr(0, network.size() - 1)));
    EXPECT_FALSE(source_model(read).described);  // nobody says how it clamps
  }
}

TEST(Published, EveryProtocolGivesTheSameValues) {
  for (int protocol = 0; protocol < 6; ++protocol) {
    const PythonFile file = read_weights(folder / fmt::format("protocol{}.pkl", protocol));
    EXPECT_EQ(file.metadata.at("text"), "é\n\\") << protocol;
    EXPECT_EQ(file.metadata.at("whole"), "-7") << protocol;
    EXPECT_EQ(file.metadata.at("large"), "1099511627776") << protocol;
    EXPECT_EQ(file.metadata.at("real"), "0.5") << protocol;
    EXPECT_EQ(file.metadata.at("flags.0"), "true") << protocol;
    EXPECT_EQ(file.metadata.at("pair.1"), "b") << protocol;
    EXPECT_EQ(file.metadata.at("named.a"), "1") << protocol;
    EXPECT_EQ(file.at("array").shape, (std::vector<int64_t>{3, 2})) << protocol;
    EXPECT_EQ(file.at("array").to_floats(), (std::vector<float>{0, 3, 1, 4, 2, 5})) << protocol;
  }
}

TEST(Published, TensorsAreTurnedAndFlipped) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const StoredTensor t = StoredTensor::of(std::span<const float>(values), {1, 2, 3});
  const StoredTensor turned = permuted(t, {2, 0, 1});
  EXPECT_EQ(turned.shape, (std::vector<int64_t>{3, 1, 2}));
  EXPECT_EQ(turned.to_floats(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(flipped(t, {2}).to_floats(), (std::vector<float>{2, 1, 0, 5, 4, 3}));
  EXPECT_EQ(flipped(t, {1, 2}).to_floats(), (std::vector<float>{5, 4, 3, 2, 1, 0}));
  EXPECT_THROW(permuted(t, {0, 1}), IoError);
}

TEST(Published, WhatAFileOnlyClaimsIsHeldAgainstItBeforeMemoryIsSpent) {
  Scratch scratch;
  SafetensorsFile file = read_weights(folder / "stylegan.model");
  for (const std::string network : {"g_running.", "generator."}) {
    const std::vector<float> row(40'000);
    file.tensors[network + "style.1.linear.weight_orig"] = StoredTensor::of(std::span<const float>(row), {1, 40'000});
  }
  file.metadata.clear();
  write_safetensors(scratch / "large.safetensors", file);
  EXPECT_MENTIONS(message_of([&] { read_networks(scratch / "large.safetensors"); }), "expected [40000,40000]");
}

TEST(Published, DefaultsOfNvidiasLayersAreOptions) {
  const FileFormat format = nvidia_pickle();
  const auto told = [&](std::map<std::string, std::string> values) {
    ModelSpec spec = StyleGan2Options{};
    format.tell(spec, values);
    return spec.as<StyleGan2Options>();
  };
  EXPECT_EQ(told({}).conv_clamp, -1);
  EXPECT_EQ(told({{"G_ema.synthesis.b4.conv1.conv_clamp", "256"}}).conv_clamp, 256);  // as stylegan3 has it
  EXPECT_EQ(told({{"D.b4.mbstd.group_size", "8"}}).mbstd_group, 8);
  EXPECT_EQ(told({{"D.b4.mbstd.num_channels", "1"}}).mbstd_group, 65536);  // all of the batch
  EXPECT_THROW(told({{"D.b4.mbstd.group_size", "1e300"}}), ConfigError);
  EXPECT_THROW(told({{"G._init_kwargs.mapping_kwargs.lr_multiplier", "0.1"}}), ConfigError);
}

TEST(Published, OtherModelsOfTheSameCodeAreNamed) {
  Scratch scratch;
  SafetensorsFile file;
  file.tensors["G_ema.synthesis.L0_36_512.weight"] = StoredTensor::of(std::vector<float>{1}, {1});
  file.metadata["G_ema.class"] = "Generator";
  write_safetensors(scratch / "t.safetensors", file);
  EXPECT_MENTIONS(message_of([&] { read_networks(scratch / "t.safetensors"); }), "a generator of StyleGAN3");
}

}  // namespace
}  // namespace firn
