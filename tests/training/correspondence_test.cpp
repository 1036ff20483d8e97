// Methods that compare images with the source's of the same latents: cross-domain correspondence, feature matching.
#include <cmath>

#include "models/layers/patch_head.h"
#include "tests/training/methods_support.h"
#include "training/methods/cdc.h"
#include "training/methods/feature_matching.h"
#include "training/methods/minegan.h"
#include "training/methods/source.h"
#include "training/step/iteration.h"
#include "training/step/reals.h"

namespace firn {
namespace {

TEST(Correspondence, DistancesOfCdcAreThoseOfPyTorch) {
  for (const int64_t n : {8, 6, 5, 10}) {
    std::vector<std::pair<Tensor, Tensor>> layers;
    for (const auto& [i, shape] : {std::pair{0, Shape{n, 3, 2, 4}}, {1, Shape{n, 2, 5, 3}}}) {
      const auto make = [&](const char* when) {
        return Tensor::from(formula_numbers(fmt::format("{}.{}", when, i), size_t(count(shape))), shape, DType::f64,
                            Device::cpu());
      };
      layers.emplace_back(make("now").require_grad(), make("then"));
    }
    const Tensor divergence = distance_consistency(layers, cdc_pairs(n, Device::cpu()));
    expect_golden(fmt::format("cdc.{}", n), divergence);
    const std::vector<Tensor> slopes = grad(divergence, {layers[0].first, layers[1].first});
    for (size_t i = 0; i < slopes.size(); ++i) expect_golden(fmt::format("cdc.{}.grad.{}", n, i), slopes[i]);
  }
}

TEST(Correspondence, FeatureMatchingComparesActivationsOfTheSameLatents) {
  Pair pair("feature-matching", [](TrainOptions& o) {
    o.method<FeatureMatching>() = {.weight = 2, .at = {"b4", "b16"}};
  });
  const auto [plain, held] = pair.run("Gmain");
  Subject& s = *pair.subjects[1];
  const auto distance = [&] {
    const NoGrad no_grad;
    const Taps now(s.g(), {"b4", "b16"}), then(source_generator(s.state), {"b4", "b16"});
    s.state.generator().forward(pair.inputs()["z"], {});
    source_generator(s.state).forward(pair.inputs()["z"], {});
    double total = 0;
    for (const char* name : {"b4", "b16"}) {
      const auto a = now.at(name).to_doubles(), b = then.at(name).to_doubles();
      for (size_t i = 0; i < a.size(); ++i) total += (a[i] - b[i]) * (a[i] - b[i]) / double(2 * a.size());
    }
    return total;
  };
  EXPECT_GT(distance(), 1e-3);
  EXPECT_NEAR(loss(held), loss(plain) + 2 * distance(), 1e-10);
  EXPECT_NEAR(held["match"].item(), distance(), 1e-10);
  const Parameters trained = s.trained_by("Gmain").trainable();
  for (const char* name : {"mapping.fc0.weight", "synthesis.b4.const", "synthesis.b16.conv0.weight"}) {
    size_t at = 0;
    while (trained[at].name() != name) ++at;
    const double slope = slope_by_differences(trained[at], 0, distance);
    EXPECT_NE(slope, 0) << name;
    EXPECT_NEAR(held.gradients[at].to_doubles()[0], plain.gradients[at].to_doubles()[0] + 2 * slope, 1e-7) << name;
  }
}

TEST(Correspondence, WhatIsTheSourceStillIsAtNoDistanceFromIt) {
  for (const char* kind : {"stylegan2", "sngan", "stylegan"})
    for (const std::vector<std::string>& names :
         {std::vector<std::string>{"cdc", "feature-matching"}, {"minegan", "cdc", "feature-matching"}}) {
      TrainOptions o = tiny(kind, names);
      o.batch = o.batch_gpu = 4;
      o.method<MineGan>().steps = 0;
      Subject s(o);
      begin_methods(s.state, o);
      Rng rng{.seed = 1};
      Inputs in;
      in.put("z", randn({4, int64_t(s.state.generator().z_dim())}, rng, DType::f32, Device::cpu()));
      const PhaseResult r = s.run("Gmain", in);
      EXPECT_EQ(r["match"].item(), 0) << kind << names.size();
      EXPECT_EQ(r["cdc"].item(), 0) << kind << names.size();
    }
}

TEST(Correspondence, OfCdcDJudgesWholeImagesNearAnchorsAndPatchesElsewhere) {
  Pair pair("cdc", [](TrainOptions& o) { o.method<Cdc>().weight = 30; });
  Subject& s = *pair.subjects[1];
  const auto& head = static_cast<const PatchHead&>(*s.state.role("patches").network);
  const auto run = [&](const char* name) { return s.run(name, pair.inputs()); };
  const double g = loss(pair.subjects[0]->run("Gmain", pair.inputs())),
               d = loss(pair.subjects[0]->run("Dmain", pair.inputs()));
  const double divergence = run("Gmain")["cdc"].to_doubles()[0];
  EXPECT_GT(divergence, 1e-5);
  EXPECT_NEAR(loss(run("Gmain")), g + 30 * divergence, 1e-10);
  EXPECT_NEAR(loss(run("Dmain")), d, 1e-10);

  const auto patches = [&] {
    const NoGrad no_grad;
    const Taps seen(s.d(), {"b16"});
    const Generator& g = s.g();
    s.d()(pair.inputs()["images"]);
    s.d()(g.forward(pair.inputs()["z"], {}));
    return std::pair(head(seen.at("b16", 0)), head(seen.at("b16", 1)));
  };
  const auto d_loss = [&] {
    const NoGrad no_grad;
    const auto [real, fake] = patches();
    return (mean(softplus(-real)) + mean(softplus(fake))).item();
  };
  const auto g_loss = [&] {
    const NoGrad no_grad;
    return (mean(softplus(-patches().second))).item() + 30 * run("Gpatch")["cdc"].to_doubles()[0];
  };
  const PhaseResult of_d = run("Dpatch"), of_g = run("Gpatch");
  EXPECT_NEAR(loss(of_d), d_loss(), 1e-10);
  EXPECT_NEAR(loss(of_g), g_loss(), 1e-10);
  Parameters by_d = s.trained_by("Dpatch").trainable();
  for (const Parameter& p : head.parameters()) by_d.add(p);
  const Parameters by_g = s.trained_by("Gpatch").trainable();
  int checked = 0;
  const auto expect_slopes = [&](const Parameters& trained, const PhaseResult& found,
                                 const std::set<std::string>& names, const std::function<double()>& value) {
    for (size_t i = 0; i < trained.size(); ++i) {
      if (!names.contains(trained[i].name())) continue;
      const double slope = slope_by_differences(trained[i], 0, value);
      EXPECT_NE(slope, 0) << trained[i].name();
      EXPECT_NEAR(found.gradients[i].to_doubles()[0], slope, 1e-6 * std::max(1.0, std::abs(slope)))
          << trained[i].name();
      ++checked;
    }
  };
  expect_slopes(by_d, of_d, {"b16.fromrgb.weight", "b16.conv1.weight", "weight", "bias"}, d_loss);
  expect_slopes(by_g, of_g, {"mapping.fc0.weight", "synthesis.b4.const", "synthesis.b16.conv0.weight"}, g_loss);
  EXPECT_EQ(checked, 7);
  for (size_t i = 0; i < by_d.size(); ++i)
    if (by_d[i].name().starts_with("b4.")) {  // of D's back
      const std::vector<double> none = of_d.gradients[i].to_doubles();
      EXPECT_EQ(none, std::vector<double>(none.size(), 0.0)) << by_d[i].name();
    }
}

TEST(Correspondence, OfCdcEveryFourthIterationHasLatentsNearAnchors) {
  TrainOptions o = tiny("stylegan2", {"cdc"});
  TrainState s(o, Device::cpu());
  begin_methods(s, o);
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  const std::vector<double> anchors = s.role("anchors").network->parameters()[0].value().to_doubles();
  ASSERT_EQ(anchors.size(), 10u * 8);
  const auto distance = [&](const Tensor& z) {  // of the farthest latent from its nearest anchor
    const std::vector<double> all = z.to_doubles();
    double farthest = 0;
    for (size_t n = 0; n < all.size(); n += 8) {
      double nearest = INFINITY;
      for (size_t a = 0; a < anchors.size(); a += 8) {
        double square = 0;
        for (size_t i = 0; i < 8; ++i) square += (all[n + i] - anchors[a + i]) * (all[n + i] - anchors[a + i]);
        nearest = std::min(nearest, std::sqrt(square));
      }
      farthest = std::max(farthest, nearest);
    }
    return farthest;
  };
  for (int i = 0; i < 9; ++i) {
    int trained = 0;
    for (const Phase& phase : iteration.phases()) {
      if (phase.lazy || !phase.due(i)) continue;
      ++trained;
      for (const auto& feed : phase.feeds) feed->refresh(s.rng);
      const Inputs in = phase.draw(s.rng);
      for (const char* name : {"z", "z_mix"})
        if (i % 4 == 0)
          EXPECT_LT(distance(in[name]), 0.5) << phase.name << " " << i;
        else
          EXPECT_GT(distance(in[name]), 0.5) << phase.name << " " << i;
    }
    EXPECT_EQ(trained, 2) << i;
  }
}

}  // namespace
}  // namespace firn
