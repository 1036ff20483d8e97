// Small states with methods, and what tests ask of them.
#pragma once
#include <cstdlib>

#include "models/sngan/sngan.h"
#include "models/stylegan/stylegan.h"
#include "tests/models/features_support.h"
#include "tests/training/phase_support.h"
#include "tests/training/training_support.h"
#include "training/methods/method.h"
#include "training/methods/projected.h"
#include "training/methods/vision_aided.h"
#include "training/objectives/sngan.h"

namespace firn {

// A folder of weights for as long as it lives: a SqueezeNet in it.
class WeightsFolder {
 public:
  WeightsFolder() {
    if (const char* before = std::getenv("FIRN_WEIGHTS")) before_ = before;
    write_safetensors(scratch_ / "squeezenet.safetensors", formula_weights("squeezenet/1"));
    setenv("FIRN_WEIGHTS", scratch_.path().c_str(), 1);
  }
  ~WeightsFolder() { before_.empty() ? unsetenv("FIRN_WEIGHTS") : setenv("FIRN_WEIGHTS", before_.c_str(), 1); }

 private:
  Scratch scratch_;
  std::string before_;
};

inline TrainOptions tiny(std::string_view kind, const std::vector<std::string>& methods, DType type = DType::f32) {
  TrainOptions o = TrainOptions::of(kind);
  if (kind == "sngan") {
    o.loss = SnganLoss{.loss = GanLoss::non_saturating, .n_dis = 1};  // which has a slope everywhere
    o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 1, .type = type};
  } else if (kind == "stylegan") {
    o.model = StyleGanOptions{.height = std::ranges::count(methods, "glo") ? 32 : 16,
                              .z_dim = 8,
                              .channel_base = 64,
                              .channel_max = 8,
                              .mapping_layers = 2,
                              .fused_from = 16,
                              .type = type};
  } else {
    o.model = StyleGan2Options{.height = 16,
                               .z_dim = 8,
                               .w_dim = 8,
                               .channel_base = 64,
                               .channel_max = 8,
                               .mapping_layers = 2,
                               .mbstd_group = 2,
                               .type = type};
  }
  o.batch = o.batch_gpu = std::ranges::count(methods, "cdc") ? 4 : 2;
  o.ema_kimg = 0.05;
  o.init = "source.safetensors";
  o.dataset_size = o.batch;
  o.method_names = methods;
  if (kind == "stylegan2" && std::ranges::count(methods, "glo")) o.model.as<StyleGan2Options>().height = 32;
  if (std::ranges::count(methods, "vision-aided")) {
    o.method<VisionAided>().networks = "squeezenet";
    o.method<VisionAided>().size = 48;
  }
  if (std::ranges::count(methods, "projected")) {
    o.method<Projected>().network = "squeezenet";
    o.method<Projected>().size = 48;
    o.method<Projected>().width = 4;
  }
  settle_methods(o, {});
  return o;
}

inline std::map<std::string, std::vector<double>> values_of(const TrainState& s) {
  std::map<std::string, std::vector<double>> all;
  for (const Role& role : s.roles)
    for (const Parameter& p : role.network->parameters())
      if (!p.buffer()) all[role.name + "." + p.name()] = p.value().to_doubles();
  return all;
}

// Those whose values differ.
inline std::set<std::string> moved(const std::map<std::string, std::vector<double>>& before, const TrainState& s) {
  std::set<std::string> names;
  for (const auto& [name, now] : values_of(s))
    if (before.at(name) != now) names.insert(name);
  return names;
}

// One phase in double precision, with and without a method.
struct Pair {
  Pair(
      const std::string& method, std::function<void(TrainOptions&)> set = [](TrainOptions&) {}) {
    for (const bool with : {false, true}) {
      TrainOptions o =
          tiny("stylegan2", with ? std::vector<std::string>{method} : std::vector<std::string>{}, DType::f64);
      set(o);
      auto& subject = subjects.emplace_back(std::make_unique<Subject>(o));
      begin_methods(subject->state, o);
      Rng rng{.seed = 3};
      for (const char* role : {"G", "D"})  // away from the source
        for (const Parameter& p : subject->state.role(role).network->parameters().trainable())
          Parameter(p).value().detach().copy_from(p.value() +
                                                  randn(p.value().shape(), rng, DType::f64, Device::cpu()) * 0.1);
    }
  }
  Inputs inputs() const {
    Rng rng{.seed = 9};
    const int64_t n = subjects[1]->options.batch;
    Inputs in;
    in.put("z", randn({n, 8}, rng, DType::f64, Device::cpu()));
    in.put("images", randn({n, 16, 16, 3}, rng, DType::f64, Device::cpu()));
    return in;
  }
  std::pair<PhaseResult, PhaseResult> run(const char* phase) {
    return {subjects[0]->run(phase, inputs()), subjects[1]->run(phase, inputs())};
  }
  std::vector<std::unique_ptr<Subject>> subjects;
};

inline double loss(const PhaseResult& r) { return r["loss"].to_doubles()[0]; }

// Of a scalar by one element of a parameter.
inline double slope_by_differences(Parameter p, size_t element, const std::function<double()>& value) {
  std::vector<double> w = p.value().to_doubles();
  const double before = w[element], h = 1e-5;
  const auto at = [&](double v) {
    w[element] = v;
    p.value().detach().copy_from(Tensor::from(w, p.value().shape(), DType::f64, Device::cpu()));
    return value();
  };
  const double slope = (at(before + h) - at(before - h)) / (2 * h);
  at(before);
  return slope;
}

inline void expect_golden(const std::string& name, const Tensor& t) {
  static const SafetensorsFile golden =
      read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden/methods.safetensors");
  const std::vector<double> want = golden.at(name).to_doubles(), got = t.to_doubles();
  ASSERT_EQ(want.size(), got.size()) << name;
  double largest = 0;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  ASSERT_GT(largest, 0) << name;
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-9 * largest) << name << " " << i;
}

}  // namespace firn
