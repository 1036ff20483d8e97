// SNGAN-projection against tests/golden/sngan.py: outputs, gradients, vectors of the power iteration, running averages,
// and parameters after whole iterations. The fixtures are double precision, their initial values exact in f32.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/files.h"
#include "models/sngan/sngan.h"
#include "training/objectives/sngan.h"
#include "training/step/feed.h"

namespace firn {
namespace {

struct Case {
  std::string fixture;
  DType type;
};

class SnganGoldenTest : public testing::TestWithParam<Case> {
 protected:
  SnganGoldenTest()
      : file_(
            read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden" / (GetParam().fixture + ".safetensors"))),
        given_(nlohmann::json::parse(file_.metadata.at("options"))),
        options_([&] {
          TrainOptions o = TrainOptions::of("sngan");
          o.model = SnganOptions{.height = given_["resolution"],
                                 .img_channels = given_["img_channels"],
                                 .c_dim = given_["classes"],
                                 .z_dim = given_["z_dim"],
                                 .ch = given_["ch"],
                                 .type = GetParam().type,
                                 .activation_type = GetParam().type};
          o.loss = SnganLoss{.loss = given_["loss"] == "hinge" ? GanLoss::hinge : GanLoss::non_saturating};
          o.lr = given_["lr"];
          o.beta1 = given_["beta1"];
          o.beta2 = given_["beta2"];
          return o;
        }()),
        state_(options_, Device::cpu()),
        phases_(phases_of({.options = options_, .state = state_})) {
    for (const char* role : {"G", "D"}) load_values(role, role);
  }

  void load_values(const std::string& role, const std::string& prefix) {
    size_t stored = 0;
    for (const auto& [name, tensor] : file_.tensors) stored += name.starts_with(prefix + ".");
    const Parameters& parameters = state_.role(role).network->parameters();
    ASSERT_EQ(stored, parameters.size());
    for (const Parameter& p : parameters) {
      const StoredTensor& t = file_.at(prefix + "." + p.name());
      ASSERT_EQ(t.shape, file_shape(p)) << p.name();
      load_file_order<double>(p, t.to_doubles());
    }
  }

  Tensor input(const std::string& name) const {
    const StoredTensor& t = file_.at(name);
    const Tensor x = Tensor::from(std::span<const double>(t.to_doubles()), t.shape, GetParam().type, Device::cpu());
    return t.shape.size() == 4 ? permute(x, {0, 2, 3, 1}) : x;
  }

  Tensor labels(const std::string& name) const {
    if (!file_.contains(name)) return {};
    std::vector<int> classes;
    for (const double c : file_.at(name).to_doubles()) classes.push_back(int(c));
    return class_labels(classes, given_["classes"], Device::cpu());
  }

  PhaseResult run(const std::string& phase, const std::string& where) {
    Inputs in;
    in.put("z", input(where + ".z"));
    in.put("gen_labels", labels(where + ".labels"));
    if (phase == "Dmain") {
      // The objective takes bytes' v / 127.5 - 1 and makes v / 128 - 1 of it.
      in.put("images", affine(input(where + ".reals"), 128 / 127.5, 128 / 127.5 - 1));
      in.put("labels", labels(where + ".real_labels"));
    }
    Phase own = *std::ranges::find(phases_, phase, &Phase::name);
    own.at_once = in.size();
    return run_phase(own, state_, in, nullptr);
  }

  // The largest difference, relative to the largest expected value or to `floor`.
  void expect_near(const Tensor& actual, const std::string& name, double tolerance, double floor = 0) {
    const StoredTensor& t = file_.at(name);
    const Parameter p(name, actual.detach(), ParameterKind::buffer);
    const std::vector<double> a = to_file_order<double>(p), b = t.to_doubles();
    ASSERT_EQ(a.size(), b.size()) << name;
    double difference = 0, scale = floor;
    for (size_t i = 0; i < b.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      scale = std::max(scale, std::abs(b[i]));
    }
    worst_ = std::max(worst_, scale > 0 ? difference / scale : difference);
    EXPECT_LE(difference, tolerance * scale) << name;
  }

  double largest_gradient(const std::string& phase) const {
    double largest = 0;
    for (const auto& [name, tensor] : file_.tensors)
      if (name.starts_with(phase + ".grad."))
        for (const double v : tensor.to_doubles()) largest = std::max(largest, std::abs(v));
    return largest;
  }

  // Images are kept as f32. In f32 a rounding of 6e-8 goes through some thirty layers.
  double tolerance() const { return GetParam().type == DType::f64 ? 1e-9 : 1e-4; }
  ~SnganGoldenTest() override { RecordProperty("worst_relative_error", fmt::format("{:.2g}", worst_)); }

  SafetensorsFile file_;
  nlohmann::json given_;
  TrainOptions options_;
  TrainState state_;
  std::vector<Phase> phases_;
  double worst_ = 0;
};

TEST_P(SnganGoldenTest, OutputsMatch) {
  const NoGrad no_grad;
  const Generator& g = state_.generator();
  const Tensor z = input("in.0.G.z"), y = labels("in.0.G.labels");
  const Tensor first = y.defined() ? slice(y, 0, 0, 1) : y;
  constexpr double as_f32 = 1e-6;
  expect_near(g.image(g.code(slice(z, 0, 0, 1), first)), "out.G.image_by_averages", std::max(as_f32, tolerance()));
  expect_near(g.forward(z, y), "out.G.images", std::max(as_f32, tolerance()));
  for (const Parameter& p : g.parameters())
    if (p.buffer()) expect_near(p(), "out.G." + p.name(), tolerance(), 0.1);  // means may be near 0
  expect_near(state_.discriminator()(input("in.0.D0.reals"), labels("in.0.D0.real_labels")), "out.D.logits",
              tolerance());
  for (const Parameter& p : state_.discriminator().parameters())
    if (p.buffer()) expect_near(p(), "out.D." + p.name(), tolerance());
}

TEST_P(SnganGoldenTest, LossesAndGradientsMatch) {
  for (const auto& [phase, where] : {std::pair{"Gmain", "in.0.G"}, {"Dmain", "in.0.D0"}}) {
    for (const char* role : {"G", "D"}) load_values(role, role);
    const PhaseResult result = run(phase, where);
    expect_near(result["loss"], fmt::format("{}.loss", phase), tolerance());
    const Parameters trained = state_.role(phase[0] == 'G' ? "G" : "D").network->parameters().trainable();
    ASSERT_EQ(result.gradients.size(), trained.size());
    // Biases before a batch normalisation have none but for rounding; in f32 sums that nearly cancel are no better.
    const double floor = (GetParam().type == DType::f64 ? 1e-3 : 1) * largest_gradient(phase);
    for (size_t i = 0; i < trained.size(); ++i)
      expect_near(result.gradients[i], fmt::format("{}.grad.{}", phase, trained[i].name()), tolerance(), floor);
  }
}

TEST_P(SnganGoldenTest, IterationsMatch) {
  const int iterations = given_["iterations"], n_dis = given_["n_dis"];
  for (int i = 0; i < iterations; ++i) {
    std::vector<double> losses;
    const auto step = [&](const char* phase, const char* role, const std::string& where) {
      const PhaseResult result = run(phase, where);
      state_.role(role).adam->step(result.gradients);
      losses.push_back(result["loss"].item());
    };
    step("Gmain", "G", fmt::format("in.{}.G", i));
    for (int k = 0; k < n_dis; ++k) step("Dmain", "D", fmt::format("in.{}.D{}", i, k));
    const std::vector<double> expected = file_.at(fmt::format("after.{}.losses", i)).to_doubles();
    ASSERT_EQ(losses.size(), expected.size());
    for (size_t k = 0; k < losses.size(); ++k)
      EXPECT_NEAR(losses[k], expected[k], tolerance() * std::max(1.0, std::abs(expected[k]))) << i << " " << k;
  }
  // A bias before a batch normalisation has a gradient of rounding alone, by whose sign Adam moves it, at most lr a
  // step and either way; an average of a mean sums up those of all blocks before it.
  const double wander = 2 * iterations * options_.lr;
  const auto blocks = double(options_.model.as<SnganOptions>().g_widths().size() - 1);
  for (const char* role : {"G", "D"})
    for (const Parameter& p : state_.role(role).network->parameters()) {
      const std::string name = std::string("after.") + role + "." + p.name();
      const bool mean = p.name().ends_with("avg_mean"),
                 bias = p.name().starts_with("block") && p.name().ends_with("bias");
      if (role[0] == 'D' || !(mean || bias)) {
        expect_near(p(), name, tolerance());
        continue;
      }
      const std::vector<double> a = to_file_order<double>(p), b = file_.at(name).to_doubles();
      for (size_t k = 0; k < a.size(); ++k)
        EXPECT_NEAR(a[k], b[k], wander * (mean ? 2 * blocks : 1) + tolerance()) << name;
    }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType type : {DType::f64, DType::f32})
    for (const char* fixture : {"sngan_32", "sngan_plain_32", "sngan_64", "sngan_128"}) all.push_back({fixture, type});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Sngan, SnganGoldenTest, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.fixture + "_" + name_of(info.param.type); });

}  // namespace
}  // namespace firn
