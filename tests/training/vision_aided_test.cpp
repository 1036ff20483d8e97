// Vision-aided training: what the heads add to losses and gradients, and what frozen networks cost.
#include "training/methods/vision_aided.h"

#include <gtest/gtest.h>

#include "kernels/core/run.h"
#include "kernels/device/memory.h"
#include "tests/training/methods_support.h"
#include "training/step/iteration.h"
#include "training/step/reals.h"

namespace firn {
namespace {

// A head sees what it saw: its power iterations stand still.
std::vector<Tensor> judge(const Subject& s, const Tensor& images) {
  const NoGrad no_grad;
  const auto& d = static_cast<const VisionDiscriminator&>(*s.state.role("vision-squeezenet").network);
  return d(images, {}, Mode::eval);
}

struct VisionAidedTraining : testing::Test {
  WeightsFolder weights;
};

TEST_F(VisionAidedTraining, GWantsFakesToBeFoundReal) {
  Pair pair("vision-aided", [](TrainOptions& o) { o.method<VisionAided>().weight = 0.5; });
  Subject& s = *pair.subjects[1];
  const auto [plain, held] = pair.run("Gmain");
  const auto value = [&] {
    const NoGrad no_grad;
    return vision_loss(s.options.method<VisionAided>(), judge(s, s.state.generator().forward(pair.inputs()["z"], {})),
                       true, true)
        .item();
  };
  EXPECT_NEAR(loss(held), loss(plain) + 0.5 * value(), 1e-10);
  EXPECT_NEAR(held["vision-squeezenet"].item(), value(), 1e-10);
  const Parameters trained = s.trained_by("Gmain").trainable();
  int checked = 0;
  for (size_t i = 0; i < trained.size(); ++i) {
    if (trained[i].name() != "mapping.fc0.weight" && trained[i].name() != "synthesis.b16.conv0.weight") continue;
    const double slope = slope_by_differences(trained[i], 0, value);
    EXPECT_NE(slope, 0) << trained[i].name();
    EXPECT_NEAR(held.gradients[i].to_doubles()[0], plain.gradients[i].to_doubles()[0] + 0.5 * slope, 1e-6)
        << trained[i].name();
    ++checked;
  }
  EXPECT_EQ(checked, 2);
}

TEST_F(VisionAidedTraining, HeadsLearnWhichImagesAreRealAndDIsAsWithoutThem) {
  for (const HeadKind kind : {HeadKind::spectral, HeadKind::equalised}) {
    Pair pair("vision-aided", [&](TrainOptions& o) { o.method<VisionAided>().head = kind; });
    const Subject& s = *pair.subjects[1];
    const auto& network = static_cast<const VisionDiscriminator&>(*s.state.role("vision-squeezenet").network);
    const auto [fakes, reals] = [&] {
      const NoGrad no_grad;
      return std::pair(network.levels(s.state.generator().forward(pair.inputs()["z"], {})),
                       network.levels(pair.inputs()["images"]));
    }();
    const auto value = [&] {
      const NoGrad no_grad;
      const VisionAided& o = s.options.method<VisionAided>();
      return (vision_loss(o, network.head()(fakes, {}, Mode::eval), false, false) +
              vision_loss(o, network.head()(reals, {}, Mode::eval), true, false))
          .item();
    };
    for (int i = 0; i < (kind == HeadKind::spectral ? 60 : 0); ++i) network.head()(reals);  // power iterations settle
    const double near = kind == HeadKind::spectral ? 1e-4 : 1e-8;
    const auto [plain, held] = pair.run("Dmain");
    EXPECT_NEAR(loss(held), loss(plain) + value(), near);
    for (size_t i = 0; i < plain.gradients.size(); ++i)
      EXPECT_EQ(held.gradients[i].to_doubles(), plain.gradients[i].to_doubles());
    const Parameters heads = s.state.role("vision-squeezenet").network->parameters().trainable();
    ASSERT_EQ(held.gradients.size(), plain.gradients.size() + heads.size());
    for (size_t i = 0; i < heads.size(); ++i) {
      const double slope = slope_by_differences(heads[i], 0, value),
                   got = held.gradients[plain.gradients.size() + i].to_doubles()[0];
      EXPECT_NEAR(got, slope, near) << heads[i].name();
      EXPECT_GT(std::abs(got), 0) << heads[i].name();
    }
  }
}

TEST_F(VisionAidedTraining, FrozenNetworksHaveNoWeightGradientsAndDNoBackwardPassThroughThem) {
  Pair pair("vision-aided");
  std::map<std::string, std::array<int64_t, 2>> of_weights, of_data;
  for (const size_t with : {0, 1})
    for (const char* phase : {"Gmain", "Dmain", "Dreg"}) {
      Subject& s = *pair.subjects[with];
      const LaunchCounter counter;
      s.run(phase, pair.inputs());
      of_weights[phase][with] = counter["conv_backward_weights"];
      of_data[phase][with] = counter["conv_backward_data"];
    }
  constexpr int layers = 3;  // of the head
  EXPECT_EQ(of_weights["Gmain"][1], of_weights["Gmain"][0]);
  EXPECT_GT(of_data["Gmain"][1], of_data["Gmain"][0] + layers);
  EXPECT_EQ(of_weights["Dmain"][1], of_weights["Dmain"][0] + layers);
  EXPECT_EQ(of_data["Dmain"][1], of_data["Dmain"][0] + layers - 1);
  for (const auto* counts : {&of_weights, &of_data}) EXPECT_EQ(counts->at("Dreg")[1], counts->at("Dreg")[0]);
}

// Of what terms() leaves on the tape, how many bytes more there are with the networks.
TEST_F(VisionAidedTraining, DKeepsNoActivationsOfFrozenNetworksAndGKeepsThem) {
  Pair pair("vision-aided");
  const auto kept = [&](Subject& s, const char* phase) {
    const auto live = [] { return int64_t(kernels::memory_use().live); };
    const Phase& p = *std::ranges::find(s.phases, phase, &Phase::name);
    std::vector<std::unique_ptr<FrozenScope>> frozen;
    for (const Role& role : s.state.roles)
      if (role.name != p.trains && !std::ranges::count(p.beside, role.name))
        frozen.push_back(std::make_unique<FrozenScope>(role.network->parameters()));
    const Inputs in = pair.inputs();
    const int64_t before = live();
    const Terms terms = p.terms(in, nullptr);
    return live() - before;
  };
  const auto more = [&](const char* phase) { return kept(*pair.subjects[1], phase) - kept(*pair.subjects[0], phase); };
  constexpr int64_t images = 2, first = images * 23 * 23 * 64 * int64_t(sizeof(double));  // what is behind one layer
  EXPECT_LT(more("Dmain"), first);
  EXPECT_GT(more("Gmain"), 2 * first);
}

TEST_F(VisionAidedTraining, WhatNetworksMakeOfRealsThatStayAsTheyAreIsKept) {
  TrainOptions o = tiny("stylegan2", {"vision-aided"}, DType::f64);
  o.method<VisionAided>().aug = "noaug";
  o.method<VisionAided>().head = HeadKind::equalised;
  o.loss.as<StyleGan2Loss>().style_mixing = 0;  // where styles change is fed anew each time
  TrainState s(o, Device::cpu());
  Reals reals(o, s);
  const auto phase = [&](Reals* of) {
    const std::vector<Phase> phases = phases_of({.options = o, .state = s, .reals = of});
    return *std::ranges::find(phases, "Dmain", &Phase::name);
  };
  const Phase keeps = phase(&reals), does_not = phase(nullptr);
  EXPECT_EQ(reals.shown(), 0);
  for (const auto& feed : keeps.feeds) {
    Rng rng{.seed = 1};
    feed->refresh(rng);
  }
  Rng rng{.seed = 2};
  const Inputs in = keeps.draw(rng);
  ASSERT_TRUE(in.has("vision-squeezenet_level0"));
  const auto run = [&](const Phase& p) {
    const LaunchCounter counter;
    PhaseResult found = run_phase(p, s, in, nullptr);
    return std::pair(std::move(found), counter.flops());
  };
  const auto [kept, few] = run(keeps);
  const auto [again, many] = run(does_not);
  EXPECT_NEAR(loss(kept), loss(again), 1e-12);
  ASSERT_EQ(kept.gradients.size(), again.gradients.size());
  for (size_t i = 0; i < kept.gradients.size(); ++i) {
    const auto got = kept.gradients[i].to_doubles(), want = again.gradients[i].to_doubles();
    for (size_t k = 0; k < got.size(); ++k) ASSERT_NEAR(got[k], want[k], 1e-12);
  }
  const NoGrad no_grad;
  const LaunchCounter once;
  static_cast<const VisionDiscriminator&>(*s.role("vision-squeezenet").network).levels(in["images"]);
  EXPECT_NEAR(many - few, once.flops(), 1e-3 * once.flops());
}

TEST_F(VisionAidedTraining, NetworksJoinBehindTheirWarmUp) {
  TrainOptions o = tiny("sngan", {"vision-aided"});
  o.method<VisionAided>().warm_up_kimg = 0.003;  // two iterations of two images, nearly
  TrainState s(o, Device::cpu());
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  EXPECT_EQ(iteration.images(), 2);
  const auto before = values_of(s);
  iteration.run();
  iteration.run();
  for (const std::string& name : moved(before, s)) EXPECT_FALSE(name.starts_with("vision-")) << name;
  EXPECT_EQ(s.counters.images, 4);
  iteration.run();
  int moved_heads = 0;
  for (const std::string& name : moved(before, s)) moved_heads += name.starts_with("vision-");
  EXPECT_GT(moved_heads, 3);
}

TEST_F(VisionAidedTraining, AMinerLearnsFromThemToo) {
  TrainOptions o = tiny("stylegan2", {"minegan", "vision-aided"}, DType::f64);
  const Subject s(o);
  const auto miner = std::ranges::find(s.phases, "GmainMiner", &Phase::name);
  ASSERT_NE(miner, s.phases.end());
  Inputs in;
  Rng rng{.seed = 9};
  in.put("z", randn({2, 8}, rng, DType::f64, Device::cpu()));
  EXPECT_TRUE(run_phase(*miner, s.state, in, nullptr)["vision-squeezenet"].defined());
}

TEST_F(VisionAidedTraining, TheProbabilityOfTheirAugmentationFollowsTheirSigns) {
  TrainOptions o = tiny("stylegan2", {"vision-aided"});
  auto& v = o.method<VisionAided>();
  v.aug = "ada";
  v.target = -2;  // always below: p rises
  v.ada_kimg = 0.1;
  TrainState s(o, Device::cpu());
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  for (int i = 0; i < 4; ++i) iteration.run();
  EXPECT_EQ(s.scalar("vision-squeezenet_p").to_doubles()[0], 0);
  iteration.run();
  EXPECT_NEAR(s.scalar("vision-squeezenet_p").to_doubles()[0], 4 * 2 / 100.0, 1e-6);
  for (int i = 0; i < 4; ++i) iteration.run();
  EXPECT_NEAR(s.scalar("vision-squeezenet_p").to_doubles()[0], 8 * 2 / 100.0, 1e-6);
}

TEST_F(VisionAidedTraining, NetworksAreGivenTheSizeThatTheyWerePublishedWithUnlessOneIsSaid) {
  write_safetensors(std::filesystem::path(std::getenv("FIRN_WEIGHTS")) / "unet-faces.safetensors",
                    formula_weights("unet-faces/1"));
  const auto expect_maps = [](int size, int64_t of_faces, int64_t of_squeezenet) {
    TrainOptions o = tiny("stylegan2", {"vision-aided"});
    o.method<VisionAided>().networks = "unet-faces+squeezenet";
    o.method<VisionAided>().size = size;
    settle_methods(o, {});
    const TrainState s(o, Device::cpu());
    const NoGrad no_grad;
    const auto rows = [&](const char* role) {
      const auto& d = static_cast<const VisionDiscriminator&>(*s.role(role).network);
      return d.levels(Tensor::zeros({1, 16, 16, 3}, DType::f32, Device::cpu())).maps[0].dim(1);
    };
    EXPECT_EQ(rows("vision-unet-faces"), of_faces);
    EXPECT_EQ(rows("vision-squeezenet"), of_squeezenet);
  };
  expect_maps(0, 256 / 32, 13);
  expect_maps(64, 64 / 32, 3);
}

TEST_F(VisionAidedTraining, LossesAreThoseOfTheirNames) {
  const Tensor x = Tensor::from(std::vector<double>{-2, 0.5, 3}, {3, 1, 1, 1}, DType::f64, Device::cpu());
  const auto near = [&](const VisionAided& o, bool real, bool of_g, const std::function<double(double)>& f) {
    EXPECT_NEAR(vision_loss(o, {x, x}, real, of_g).item(), 2 * (f(-2) + f(0.5) + f(3)) / 3, 1e-12);
  };
  const auto log_sigmoid = [](double v) { return -std::log1p(std::exp(-v)); };
  near({.smoothing = 0.2}, true, true, [&](double v) { return -0.8 * log_sigmoid(v) - 0.2 * log_sigmoid(-v); });
  near({.smoothing = 0.2}, false, false, [&](double v) { return -log_sigmoid(-v); });
  near({.loss = VisionLoss::hinge}, true, true, [](double v) { return -v; });
  near({.loss = VisionLoss::hinge}, true, false, [](double v) { return std::max(0.0, 1 - v); });
  near({.loss = VisionLoss::hinge}, false, false, [](double v) { return std::max(0.0, 1 + v); });
}

}  // namespace
}  // namespace firn
