// StyleGAN2 against tests/golden/*.py: outputs, every phase's loss and gradients, and two whole training iterations.
// The fixtures are double precision and their initial values are exact in f32.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/adam.h"
#include "io/safetensors.h"
#include "models/files.h"
#include "tests/training/phase_support.h"
#include "training/step/feed.h"

namespace firn {
namespace {

using Options = nlohmann::json;

struct Case {
  std::string fixture;
  DType type;
};

// In f64 the only differences are orders of summation (1e-14 is seen). In f32 a rounding of 6e-8 goes through some
// twenty layers, twice over in the second derivatives of path length (1e-5 is seen). R1's go through the curvature of
// minibatch_stddev as well, which is worst for groups of two (see floor_of; 6e-5 is seen). Adam's steps are nearly
// lr sign(g) here, so a gradient whose sign rounding decides would show as 2 lr / |p| ~ 1e-3 in a parameter: there is
// none.
double tolerance(DType type, const std::string& name) {
  return type == DType::f64 ? 1e-9 : name.starts_with("Dreg") ? 5e-4 : 1e-4;
}

Architecture architecture(const std::string& name) {
  return name == "skip" ? Architecture::skip : name == "resnet" ? Architecture::resnet : Architecture::orig;
}

StyleGan2Options model_options(const Options& o, DType type) {
  return {.height = o["height"],
          .width = o["width"],
          .img_channels = o["img_channels"],
          .c_dim = o["c_dim"],
          .z_dim = o["z_dim"],
          .w_dim = o["w_dim"],
          .channel_base = o["channel_base"],
          .channel_max = o["channel_max"],
          .mapping_layers = o["mapping_layers"],
          .g_architecture = architecture(o["g_architecture"]),
          .d_architecture = architecture(o["d_architecture"]),
          .mbstd_group = o["mbstd_group"],
          .mbstd_channels = o["mbstd_channels"],
          .conv_clamp = o["conv_clamp"].is_null() ? -1 : o["conv_clamp"].get<double>(),
          .type = type};
}

TrainOptions train_options(const Options& o, DType type) {
  return options_of(model_options(o, type), {.r1_gamma = o["gamma"],
                                             .pl_weight = o["pl_weight"],
                                             .pl_decay = o["pl_decay"],
                                             .g_reg_interval = o["g_reg_interval"],
                                             .d_reg_interval = o["d_reg_interval"]});
}

class GoldenTest : public testing::TestWithParam<Case> {
 protected:
  GoldenTest()
      : file_(
            read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden" / (GetParam().fixture + ".safetensors"))),
        options_(Options::parse(file_.metadata.at("options"))),
        subject_(train_options(options_, GetParam().type)) {
    load(g_.parameters(), "G.");
    load(d_.parameters(), "D.");
    for (const std::string pattern : options_["frozen"])
      (pattern[0] == 'G' ? g_.parameters() : d_.parameters()).matching({pattern.substr(2)}).freeze();
  }

  void load(const Parameters& parameters, const std::string& prefix) const {
    size_t stored = 0;
    for (const auto& [name, tensor] : file_.tensors) stored += name.starts_with(prefix);
    ASSERT_EQ(stored, parameters.size());
    for (const Parameter& p : parameters) {
      const StoredTensor& t = file_.at(prefix + p.name());
      ASSERT_EQ(t.shape, file_shape(p)) << p.name();
      load_file_order<double>(p, t.to_doubles());
    }
  }

  Tensor input(const std::string& name) const {
    const StoredTensor& t = file_.at(name);
    Shape shape = t.shape;
    if (shape.size() == 4) shape = {shape[0], shape[2], shape[3], shape[1]};
    const Parameter p(name, Tensor::zeros(shape, GetParam().type, Device::cpu()), ParameterKind::buffer);
    load_file_order<double>(p, t.to_doubles());
    return p();
  }

  Tensor labels(const std::string& name) const {
    if (!options_["c_dim"].get<int>()) return {};
    const std::vector<double> values = file_.at(name).to_doubles();
    return class_labels(std::vector<int>(values.begin(), values.end()), options_["c_dim"], Device::cpu());
  }

  PhaseResult run_phase(const std::string& phase, const std::string& prefix) {
    Inputs in;
    if (phase != "Dreg") {
      in.put("z", input(prefix + "z." + phase));
      in.put("gen_labels", labels(prefix + "gen_labels"));
    }
    if (phase[0] == 'D') {
      in.put("images", input(prefix + "images"));
      in.put("labels", labels(prefix + "labels"));
    }
    if (phase == "Greg") {
      in = in.slice(0, in.size() / 2);
      in.put("pl_noise", input(prefix + "pl_noise"));
    }
    return subject_.run(phase, in);
  }

  // The largest difference, relative to the largest expected value or to `floor`.
  double error(const Tensor& actual, const std::string& name, double floor) const {
    const StoredTensor& t = file_.at(name);
    const Parameter p(name, actual.detach(), ParameterKind::buffer);
    EXPECT_EQ(file_shape(p), t.shape) << name;
    const std::vector<double> a = to_file_order<double>(p), b = t.to_doubles();
    double difference = 0, scale = floor;
    for (size_t i = 0; i < b.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      scale = std::max(scale, std::abs(b[i]));
    }
    return scale > 0 ? difference / scale : difference;
  }

  void expect_near(const Tensor& actual, const std::string& name, double floor = 0) {
    const double e = error(actual, name, floor);
    worst_ = std::max(worst_, e);
    EXPECT_LE(e, tolerance(GetParam().type, name)) << name;
  }

  // R1 reaches the biases only through the curvature of minibatch_stddev. A group of two has std = |a - b| / 2, whose
  // curvature is a spike 1e-4 wide at a = b, so that the rounding of a and b alone moves these (small) gradients:
  // they are measured by the largest gradient of the phase (a thousandth of it in f64).
  double floor_of(const std::string& phase, const std::string& parameter) const {
    if (phase != "Dreg" || !parameter.ends_with("bias")) return 0;
    double largest = 0;
    for (const auto& [name, tensor] : file_.tensors)
      if (name.starts_with("Dreg.grad."))
        for (const double v : tensor.to_doubles()) largest = std::max(largest, std::abs(v));
    return GetParam().type == DType::f64 ? 1e-3 * largest : largest;
  }

  ~GoldenTest() override { RecordProperty("worst_relative_error", fmt::format("{:.2g}", worst_)); }

  SafetensorsFile file_;
  Options options_;
  Subject subject_;
  StyleGan2Generator& g_ = subject_.g();
  StyleGan2Discriminator& d_ = subject_.d();
  Tensor& pl_mean_ = subject_.state.scalar("pl_mean");
  double worst_ = 0;
};

TEST_P(GoldenTest, OutputsMatch) {
  const Tensor w = g_.map(input("in.z.Gmain"), labels("in.gen_labels"));
  expect_near(g_.broadcast(w), "out.G.ws");
  expect_near(g_.synthesize(g_.broadcast(w), NoiseMode::constant), "out.G.images");
  const Truncation truncation{.psi = options_["truncation_psi"], .cutoff = options_["truncation_cutoff"]};
  expect_near(g_.synthesize(g_.broadcast(w, truncation), NoiseMode::constant), "out.G.truncated");
  expect_near(d_(input("in.images"), labels("in.labels")), "out.D.logits");
}

TEST_P(GoldenTest, LossesAndGradientsMatch) {
  for (const std::string phase : {"Gmain", "Greg", "Dmain", "Dreg"}) {
    const PhaseResult result = run_phase(phase, "in.");
    expect_near(result["loss"], phase + ".loss");
    const Parameters trained = (phase[0] == 'G' ? g_.parameters() : d_.parameters()).trainable();
    ASSERT_EQ(result.gradients.size(), trained.size());
    size_t stored = 0;
    for (const auto& [name, tensor] : file_.tensors) stored += name.starts_with(phase + ".grad.");
    EXPECT_EQ(stored, trained.size()) << phase;
    for (size_t i = 0; i < trained.size(); ++i)
      expect_near(result.gradients[i], phase + ".grad." + trained[i].name(), floor_of(phase, trained[i].name()));
    if (phase == "Greg") expect_near(reshape(pl_mean_, {}), "Greg.pl_mean");
    if (phase == "Dreg") expect_near(result["regularizer"], "Dreg.r1_penalty");
  }
}

TEST_P(GoldenTest, TwoIterationsMatch) {
  StyleGan2Generator average(g_.options(), Device::cpu());
  load(average.parameters(), "G.");
  const auto adam = [&](const Parameters& parameters, const char* lr, const char* interval) {
    const double n = options_[interval], k = n / (n + 1);
    return Adam(parameters.trainable(), {.lr = options_[lr].get<double>() * k,
                                         .beta1 = std::pow(options_["beta1"].get<double>(), k),
                                         .beta2 = std::pow(options_["beta2"].get<double>(), k),
                                         .eps = options_["adam_eps"]});
  };
  Adam g_adam = adam(g_.parameters(), "g_lr", "g_reg_interval"),
       d_adam = adam(d_.parameters(), "d_lr", "d_reg_interval");
  for (const std::string prefix : {"in.", "in2."}) {
    for (const std::string phase : {"Gmain", "Greg", "Dmain", "Dreg"})
      (phase[0] == 'G' ? g_adam : d_adam).step(run_phase(phase, prefix).gradients);
    update_average(average.parameters(), g_.parameters(), options_["ema_beta"]);
  }
  EXPECT_EQ(g_adam.repaired() + d_adam.repaired(), 0);

  struct Network {
    std::string prefix;
    const Parameters& parameters;
  };
  for (const auto& [prefix, parameters] : {Network{"after.G.", g_.parameters()}, Network{"after.D.", d_.parameters()},
                                           Network{"after.G_ema.", average.parameters()}})
    for (const Parameter& p : parameters)
      if (!p.name().ends_with("noise_const")) expect_near(p(), prefix + p.name());
  expect_near(reshape(pl_mean_, {}), "after.pl_mean");
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType type : {DType::f64, DType::f32})
    for (const char* fixture : {"resnet_skip_32", "conditional_16", "orig_16", "gray_16", "frozen_32", "rect_16x32"})
      all.push_back({fixture, type});
  return all;
}

INSTANTIATE_TEST_SUITE_P(StyleGan2, GoldenTest, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.fixture + "_" + name_of(info.param.type); });

}  // namespace
}  // namespace firn
