// A projected discriminator in place of D.
#include "training/methods/projected.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "kernels/core/run.h"
#include "models/features/projected.h"
#include "tests/training/methods_support.h"
#include "training/objectives/stylegan2.h"
#include "training/step/iteration.h"
#include "training/step/reals.h"

namespace firn {
namespace {

struct ProjectedTraining : testing::Test {
  WeightsFolder weights;
};

Parameters judges(const TrainState& s) { return s.role("D").network->parameters().trainable(); }

TEST_F(ProjectedTraining, GAndDHaveTheHingeLossOfItsLogits) {
  Subject s(tiny("stylegan2", {"projected"}, DType::f64));
  const auto& d = dynamic_cast<const ProjectedDiscriminator&>(s.state.discriminator());
  Rng rng{.seed = 9};
  Inputs in;
  in.put("z", randn({2, 8}, rng, DType::f64, Device::cpu()));
  in.put("images", randn({2, 16, 16, 3}, rng, DType::f64, Device::cpu()));
  const auto seen = [&](const Tensor& images) {
    const NoGrad no_grad;
    return d(images, {}, 1, Mode::eval);
  };
  const auto fakes = [&] {
    const NoGrad no_grad;
    return s.state.generator().forward(in["z"], {});
  };
  const auto of_g = [&] { return g_loss(GanLoss::hinge, seen(fakes())).item(); };
  const auto of_d = [&] { return d_loss(GanLoss::hinge, seen(in["images"]), seen(fakes())).item(); };
  // An iteration of training starts from the vectors that this one starts from and does not keep.
  const auto expect = [&](const char* phase, const Parameters& trained, const std::vector<std::string>& names,
                          const std::function<double()>& value) {
    const double before = value();
    std::map<std::string, double> slopes;
    for (const Parameter& p : trained)
      if (std::ranges::count(names, p.name())) slopes[p.name()] = slope_by_differences(p, 0, value);
    EXPECT_EQ(slopes.size(), names.size());
    const PhaseResult found = s.run(phase, in);
    EXPECT_NEAR(loss(found), before, 1e-10);
    for (size_t i = 0; i < trained.size(); ++i)
      if (const auto slope = slopes.find(trained[i].name()); slope != slopes.end()) {
        EXPECT_NE(slope->second, 0) << slope->first;
        EXPECT_NEAR(found.gradients[i].to_doubles()[0], slope->second, 1e-5 * std::max(1.0, std::abs(slope->second)))
            << slope->first;
      }
  };
  expect("Gmain", s.trained_by("Gmain").trainable(), {"synthesis.b16.conv0.weight"}, of_g);
  expect("Dmain", judges(s.state), {"judge0.down0.gamma", "judge0.down0.beta"}, of_d);
}

TEST_F(ProjectedTraining, FollowsThePublishedOptionsUnlessTold) {
  const TrainOptions o = tiny("stylegan2", {"projected"});
  const StyleGan2Loss& loss = o.loss.as<StyleGan2Loss>();
  EXPECT_EQ(loss.loss, GanLoss::hinge);
  EXPECT_EQ(loss.r1_gamma, 0);
  EXPECT_EQ(loss.pl_weight, 0);
  EXPECT_EQ(o.augment.aug, "diffaug-color-translation-cutout");
  TrainOptions told = tiny("stylegan2", {});
  told.method_names = {"projected"};
  told.method<Projected>().network = "squeezenet";
  told.augment = {};
  settle_methods(told, {{"--loss", "ns"}, {"--aug", "noaug"}});
  EXPECT_EQ(told.loss.as<StyleGan2Loss>().loss, GanLoss::non_saturating);
  EXPECT_EQ(told.augment.aug, "noaug");
}

TEST_F(ProjectedTraining, TheFrozenNetworkAndItsRandomMixHaveNoWeightGradients) {
  for (const char* kind : {"stylegan2", "sngan"}) {
    Subject s(tiny(kind, {"projected"}, DType::f64));
    int layers = 0;
    for (const Parameter& p : judges(s.state)) layers += p.value().rank() == 4;
    const int segments = 2;
    Rng rng{.seed = 9};
    Inputs in;
    const int64_t z = s.state.generator().z_dim();
    const ImageShape images = s.options.model.images();
    in.put("z", randn({2, z}, rng, DType::f64, Device::cpu()));
    in.put("images", randn({2, images.height, images.width, 3}, rng, DType::f64, Device::cpu()));
    const auto launched = [](const std::function<void()>& run) {
      const LaunchCounter counter;
      run();
      return std::pair(counter["conv_backward_weights"], counter["conv_backward_data"]);
    };
    const auto of_g = launched([&] {  // its transposed convolutions are gradients of data
      const NoGrad no_grad;
      s.state.generator().forward(in["z"], {});
    });
    const auto of_both = launched([&] { s.run("Dmain", in); });
    EXPECT_EQ(of_both.first, segments * layers) << kind;
    EXPECT_EQ(of_both.second - of_g.second, segments * (layers - 4)) << kind;  // none of what judges read first
  }
}

TEST_F(ProjectedTraining, BothModelsMoveGAndTheJudgesAlone) {
  for (const char* kind : {"stylegan2", "sngan"})
    for (const bool cached : {false, true}) {
      TrainOptions o = tiny(kind, {"projected"});
      o.cache_features = cached;
      if (cached) o.augment = {};
      TrainState s(o, Device::cpu());
      const auto mixes = [&] { return s.role("D").network->parameters().find("mix2.channels")->value().to_doubles(); };
      const std::vector<double> before_mixes = mixes();
      const auto before = values_of(s);
      Reals noise(o, s);
      Iteration iteration(o, s, nullptr, noise);
      iteration.run();
      int of_d = 0, of_g = 0;
      for (const std::string& name : moved(before, s)) (name.starts_with("D.") ? of_d : of_g) += 1;
      EXPECT_EQ(of_d, int(judges(s).size())) << kind;
      EXPECT_GT(of_g, 3) << kind;
      EXPECT_EQ(mixes(), before_mixes);
      EXPECT_EQ(noise.features().defined(), cached);
    }
}

TEST_F(ProjectedTraining, RefusesWhatNeedsTheOtherD) {
  const auto refused = [](const std::vector<std::string>& methods, std::function<void(TrainOptions&)> set) {
    TrainOptions o = tiny("stylegan2", {});
    o.method_names = methods;
    o.method<Projected>().network = "squeezenet";
    set(o);
    try {
      settle_methods(o, {});
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("nothing");
  };
  EXPECT_EQ(refused({"projected", "distill"}, [](TrainOptions&) {}),
            "--d-kind projected leaves nothing of the D that --method distill needs");
  EXPECT_EQ(refused({"projected", "ewc"}, [](TrainOptions&) {}),
            "--d-kind projected leaves nothing of the D that --method ewc needs");
  EXPECT_EQ(refused({"projected"}, [](TrainOptions& o) { o.freeze.patterns = {"G:*:fisher>q50"}; }),
            "--d-kind projected: its D has learnt nothing that Fisher information could be of");
  EXPECT_EQ(refused({"projected", "l2-sp"}, [](TrainOptions&) {}),
            "--d-kind projected leaves nothing of D to hold: give --l2-sp-on g");
  EXPECT_EQ(refused({"projected"}, [](TrainOptions& o) { o.freeze.blocks = 1; }),
            "--d-kind projected has no layers to freeze: leave out --freeze-d, --freezed and --freeze D:");
  TrainOptions told = tiny("stylegan2", {});
  told.method_names = {"projected"};
  told.method<Projected>().network = "squeezenet";
  told.loss.as<StyleGan2Loss>().r1_gamma = 0.5;
  EXPECT_THROW(settle_methods(told, {{"--gamma", "0.5"}}), ConfigError);
  EXPECT_EQ(refused({"projected"},
                    [](TrainOptions& o) {
                      o.method<Projected>().network = "clip-vit-b32";
                      o.method<Projected>().size = 64;
                    }),
            "--d-size 64: clip-vit-b32 takes images of 224 rows alone");
}

}  // namespace
}  // namespace firn
