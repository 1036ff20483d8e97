// Running a phase: in parts as in one piece, with every other role frozen meanwhile.
#include "training/step/phase.h"

#include "tests/training/training_support.h"

namespace firn {
namespace {

// Minibatch-std compares samples of one micro-batch, so it is switched off by groups of one.
TEST(Accumulation, EqualsTheWholeBatch) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8), DType::f64);
  model_of(o).mbstd_group = 1;
  loss_of(o).style_mixing = 1;
  Subject s(o);
  Rng rng{.seed = 5};
  const auto normal = [&](const Shape& shape) { return randn(shape, rng, DType::f64, Device::cpu()); };
  const Inputs in = batch_of({{"z", normal({4, 8})}, {"z_mix", normal({4, 8})}, {"images", normal({4, 8, 8, 3})}});
  for (const char* name : {"Gmain", "Dmain", "Dreg"}) {
    for (const auto& feed : s.phase(name).feeds)
      if (!dynamic_cast<RealsFeed*>(feed.get())) feed->refresh(rng);
    const PhaseResult whole = s.run(name, in), parts = s.run(name, in, 1), uneven = s.run(name, in, 3);
    for (const PhaseResult* r : {&parts, &uneven}) {
      EXPECT_NEAR((*r)["loss"].item(), whole["loss"].item(), 1e-12) << name;
      ASSERT_EQ(r->report.size(), whole.report.size());
      for (size_t i = 0; i < whole.report.size(); ++i)
        EXPECT_NEAR(r->report[i].value.item(), whole.report[i].value.item(), 1e-12) << name;
      ASSERT_EQ(r->gradients.size(), whole.gradients.size());
      for (size_t i = 0; i < whole.gradients.size(); ++i) {
        const auto a = whole.gradients[i].to_doubles(), b = r->gradients[i].to_doubles();
        for (size_t k = 0; k < a.size(); ++k) ASSERT_NEAR(a[k], b[k], 1e-11 * (1 + std::abs(a[k]))) << name << " " << i;
      }
    }
  }
}

struct RunPhaseTest : testing::Test {
  Subject subject{tiny_options({})};
  const Parameters &g = subject.g().parameters(), &d = subject.d().parameters();
  Rng rng{.seed = 5};
  Inputs in = batch_of({{"images", randn({4, 8, 8, 3}, rng, DType::f32, Device::cpu())}});

  // Trains D, and does `meanwhile` while G is only passed through.
  void run(const std::function<void()>& meanwhile) {
    const Phase phase{.name = "own", .trains = "D", .at_once = 2, .terms = [&](const Inputs& part, Rng*) {
                        meanwhile();
                        return Terms{.total = mean(subject.d()(part["images"])), .stat = "", .report = {}};
                      }};
    run_phase(phase, subject.state, in, nullptr);
  }
};
using RunPhase = RunPhaseTest;

TEST_F(RunPhase, OtherRolesAreFrozenMeanwhileAndNoLonger) {
  g("mapping.fc0.bias").freeze();
  const size_t g_trains = g.trainable().size(), d_trains = d.trainable().size();
  int parts = 0;
  run([&] {
    ++parts;
    EXPECT_TRUE(g.trainable().empty());
    EXPECT_EQ(d.trainable().size(), d_trains);
  });
  EXPECT_EQ(parts, 2);
  EXPECT_EQ(g.trainable().size(), g_trains);  // what was frozen before stays so
  EXPECT_TRUE(g.find("mapping.fc0.bias")->frozen());
}

TEST_F(RunPhase, OtherRolesThawAlsoWhereAPhaseFails) {
  const size_t g_trains = g.trainable().size();
  EXPECT_THROW(run([] { throw ConfigError("no"); }), ConfigError);
  EXPECT_EQ(g.trainable().size(), g_trains);
  subject.phase("Gmain").trains = "nobody";
  EXPECT_MENTIONS(message_of<ConfigError>([&] { subject.run("Gmain", in); }), "no network nobody");
  EXPECT_EQ(g.trainable().size(), g_trains);
}

TEST_F(RunPhase, InputsOfOneBatchHaveAsManySamples) {
  in.put("labels", Tensor::zeros({4}, DType::i32, Device::cpu()));
  in.put("features", Tensor{});
  EXPECT_FALSE(in.has("features"));
  EXPECT_EQ(in.size(), 4);
  EXPECT_EQ(in.slice(1, 3).size(), 2);
  EXPECT_EQ(in.slice(1, 3)["images"].to_floats(), slice(in["images"], 0, 1, 3).to_floats());
  in.put("z", Tensor::zeros({3, 8}, DType::f32, Device::cpu()));
  EXPECT_MENTIONS(message_of<ShapeError>([&] { in.size(); }), "z");
}

}  // namespace
}  // namespace firn
