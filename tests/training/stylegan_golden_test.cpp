// StyleGAN against tests/golden/stylegan.py: outputs, activations of D, gradients, and parameters and averages after
// whole iterations. The fixtures are double precision, their initial values exact in f32.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/files.h"
#include "models/stylegan/stylegan.h"
#include "training/objectives/stylegan.h"

namespace firn {
namespace {

struct Case {
  std::string fixture;
  DType type;
};

class StyleGanGoldenTest : public testing::TestWithParam<Case> {
 protected:
  StyleGanGoldenTest()
      : file_(
            read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden" / (GetParam().fixture + ".safetensors"))),
        given_(nlohmann::json::parse(file_.metadata.at("options"))),
        options_([&] {
          TrainOptions o = TrainOptions::of("stylegan");
          o.model = StyleGanOptions{.height = given_["resolution"],
                                    .img_channels = given_["img_channels"],
                                    .z_dim = given_["z_dim"],
                                    .channel_base = given_["channel_base"],
                                    .channel_max = given_["channel_max"],
                                    .mapping_layers = given_["mapping_layers"],
                                    .fused_from = given_["fused_from"],
                                    .type = GetParam().type,
                                    .activation_type = GetParam().type,
                                    .growing = given_["growth_kimg"] > 0};
          o.loss = StyleGanLoss{.r1_gamma = given_["gamma"],
                                .style_mixing = given_["mixing"] == 0 ? 0.0 : 1.0,
                                .growth_kimg = given_["growth_kimg"]};
          o.lr = given_["lr"];
          o.beta1 = given_["beta1"];
          o.beta2 = given_["beta2"];
          return o;
        }()),
        state_(options_, Device::cpu()),
        phases_(phases_of({.options = options_, .state = state_})) {
    for (const char* role : {"G", "D"}) load_values(role);
    update_average(state_.role("G").average->parameters(), g().parameters(), 0);
    state_.counters.images = given_["images"];
    Rng none;
    phases_[0].feeds[0]->refresh(none);   // growth
    for (const Phase& phase : phases_) {  // to the cutoff of the fixture
      Rng rng;
      for (Rng next = rng; next.uniform(), next.integer(1, g().num_ws()) != std::max<int>(1, given_["mixing"]);)
        next = rng = Rng{.seed = rng.seed + 1};
      phase.feeds.back()->refresh(rng);
    }
  }

  StyleGenerator& g() const { return dynamic_cast<StyleGenerator&>(state_.generator()); }

  void load_values(const std::string& role) {
    size_t stored = 0;
    for (const auto& [name, tensor] : file_.tensors) stored += name.starts_with(role + ".");
    const Parameters& parameters = state_.role(role).network->parameters();
    ASSERT_EQ(stored, parameters.size());
    for (const Parameter& p : parameters) {
      const StoredTensor& t = file_.at(role + "." + p.name());
      ASSERT_EQ(t.shape, file_shape(p)) << p.name();
      load_file_order<double>(p, t.to_doubles());
    }
  }

  Tensor input(const std::string& name) const {
    if (!file_.contains(name)) return {};
    const StoredTensor& t = file_.at(name);
    const Tensor x = Tensor::from(std::span<const double>(t.to_doubles()), t.shape, GetParam().type, Device::cpu());
    return t.shape.size() == 4 ? permute(x, {0, 2, 3, 1}) : x;
  }

  PhaseResult run(const std::string& phase, int iteration) {
    Inputs in;
    const std::string where = fmt::format("in.{}.{}.", iteration, phase);
    for (const char* name : {"z", "z_mix"}) in.put(name, input(where + name));
    in.put("images", input(where + "reals"));
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

  // Images are kept as f32. In f32 a rounding of 6e-8 goes through some twenty layers and, in Dmain, back and forth.
  double tolerance() const { return GetParam().type == DType::f64 ? 1e-9 : 1e-4; }
  ~StyleGanGoldenTest() override { RecordProperty("worst_relative_error", fmt::format("{:.2g}", worst_)); }

  SafetensorsFile file_;
  nlohmann::json given_;
  TrainOptions options_;
  TrainState state_;
  std::vector<Phase> phases_;
  double worst_ = 0;
};

TEST_P(StyleGanGoldenTest, OutputsMatch) {
  const NoGrad no_grad;
  constexpr double as_f32 = 1e-6;
  const Tensor z = input("in.0.Gmain.z"), z_mix = input("in.0.Gmain.z_mix"), w = g().map(z, {});
  const Tensor ws = z_mix.defined() ? g().mix(w, g().map(z_mix, {}), g().mixing(given_["mixing"])) : g().broadcast(w);
  expect_near(g().synthesize(ws, NoiseMode::constant), "out.G.images", std::max(as_f32, tolerance()));
  expect_near(g().synthesize(g().broadcast(w, {.psi = 0.7}), NoiseMode::constant), "out.G.truncated",
              std::max(as_f32, tolerance()));
  const Discriminator& d = state_.discriminator();
  const Taps taps(d, d.tap_names());
  expect_near(d(input("in.0.Dmain.reals")), "out.D.logits", tolerance());
  for (const std::string& name : d.tap_names())  // growing, of those that count
    if (file_.contains("out.D." + name)) expect_near(taps.at(name), "out.D." + name, tolerance());
}

TEST_P(StyleGanGoldenTest, LossesAndGradientsMatch) {
  for (const char* phase : {"Dmain", "Gmain"}) {
    const PhaseResult result = run(phase, 0);
    expect_near(result["loss"], fmt::format("{}.loss", phase), tolerance());
    const Parameters trained = state_.role(phase[0] == 'G' ? "G" : "D").network->parameters().trainable();
    ASSERT_EQ(result.gradients.size(), trained.size());
    const double floor = (GetParam().type == DType::f64 ? 1e-3 : 1e-1) * largest_gradient(phase);  // sums may cancel
    for (size_t i = 0; i < trained.size(); ++i)
      expect_near(result.gradients[i], fmt::format("{}.grad.{}", phase, trained[i].name()), tolerance(), floor);
  }
}

TEST_P(StyleGanGoldenTest, IterationsMatch) {
  for (int i = 0; i < given_["iterations"]; ++i) {
    const std::vector<double> expected = file_.at(fmt::format("after.{}.losses", i)).to_doubles();
    for (size_t k = 0; k < phases_.size(); ++k) {
      const PhaseResult result = run(phases_[k].name, i);
      Adam& adam = *state_.role(phases_[k].trains).adam;
      adam.advance(given_["ema_beta"]);
      adam.apply(result.gradients);
      EXPECT_NEAR(result["loss"].item(), expected[k], tolerance() * std::max(1.0, std::abs(expected[k]))) << i;
    }
    const Role& role = state_.role("G");
    update_average(role.not_trained.averages, role.not_trained.current, given_["ema_beta"], Part::frozen);
  }
  // Without momentum Adam's first steps are lr times a sign: of a gradient that is next to nothing, that of rounding.
  const double wander = GetParam().type == DType::f64 ? 0 : 2 * double(given_["iterations"]) * options_.lr;
  for (const auto& [name, network] : {std::pair<std::string, const Network*>{"G", &state_.generator()},
                                      {"G_ema", state_.role("G").average.get()},
                                      {"D", &state_.discriminator()}})
    for (const Parameter& p : network->parameters())
      if (!p.name().ends_with("noise_const") && p.name() != "growth")
        expect_near(p(), fmt::format("after.{}.{}", name, p.name()), tolerance() + wander, 1);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType type : {DType::f64, DType::f32})
    for (const char* fixture : {"stylegan_16", "stylegan_fused_16", "stylegan_32", "stylegan_growing_32"})
      all.push_back({fixture, type});
  return all;
}

INSTANTIATE_TEST_SUITE_P(StyleGan, StyleGanGoldenTest, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.fixture + "_" + name_of(info.param.type); });

}  // namespace
}  // namespace firn
