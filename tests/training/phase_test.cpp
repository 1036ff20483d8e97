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

// The averages of w and of path lengths, and the counts of signs: as the whole batch would, whatever its parts.
TEST(Accumulation, MovesRunningValuesAsTheWholeBatchDoes) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8), DType::f64);
  o.augment.aug = "ada";
  loss_of(o).style_mixing = 0;
  const auto after = [&](int64_t at_once) {
    Subject s(o);
    Rng rng{.seed = 5};
    std::vector<double> values;
    for (const char* name : {"Gmain", "Greg", "Dmain"}) {
      Inputs in = batch_of({{"z", randn({4, 8}, rng, DType::f64, Device::cpu())}});
      if (name == std::string("Greg")) in.put("pl_noise", randn({4, 8, 8, 3}, rng, DType::f64, Device::cpu()));
      if (name == std::string("Dmain")) {
        in.put("images", randn({4, 8, 8, 3}, rng, DType::f64, Device::cpu()));
        Augment(o, s.state).draw(in, "reals", 4, rng);
      }
      s.run(name, in, at_once);
    }
    for (const Parameters& p : {s.g().parameters().running(), s.d().parameters().running()})
      for (const Parameter& one : p)
        for (const double v : one.value().to_doubles()) values.push_back(v);
    values.push_back(s.state.scalar("pl_mean").item());
    const auto signs = s.state.scalar("augment_signs").to_doubles();
    EXPECT_NE(signs[1], 0);
    values.push_back(signs[0] / signs[1]);
    return values;
  };
  const auto whole = after(4);
  EXPECT_GT(std::ranges::count_if(whole, [](double v) { return v != 0; }), 8);
  for (const int64_t at_once : {2, 1}) {
    const auto parts = after(at_once);
    ASSERT_EQ(parts.size(), whole.size());
    for (size_t i = 0; i + 2 < whole.size(); ++i) EXPECT_NEAR(parts[i], whole[i], 1e-12) << i;
  }
}

// Nothing else that lasts: it would depend on which part of a batch came first.
TEST(Accumulation, MovesNoBufferThatIsNotMarked) {
  for (const std::string_view kind : {"stylegan2", "stylegan", "sngan"}) {
    TrainOptions o = TrainOptions::of(kind);
    ModelBasics basics = o.model.basics();
    basics.images = {32, 32, 3};
    o.model.set(basics);
    Overlay set;
    if (kind == "sngan")
      set.give("--ch", {"4"});
    else
      set = Overlay({{"--channel-base", "64"}, {"--channel-max", "8"}, {"--z-dim", "8"}, {"--map-depth", "1"}});
    set.apply(o);
    o.batch = o.batch_gpu = 4;
    if (kind == "stylegan2") model_of(o).mbstd_group = 2;
    TrainState state(o, Device::cpu());
    Reals reals(o, state);
    std::map<std::string, std::vector<double>> before;
    const auto each = [&](const auto& use) {
      for (const Role& role : state.roles)
        for (const Parameter& p : role.network->parameters())
          if (p.buffer()) use(role.name + "." + p.name(), p);
    };
    each([&](const std::string& name, const Parameter& p) { before[name] = p.value().to_doubles(); });
    int moved = 0;
    for (const Phase& phase : phases_of({.options = o, .state = state, .reals = &reals, .draw_label = {}})) {
      for (const auto& feed : phase.feeds) feed->refresh(state.rng);
      run_phase(phase, state, phase.draw(state.rng), &state.rng);
    }
    each([&](const std::string& name, const Parameter& p) {
      const bool same = before[name] == p.value().to_doubles();
      EXPECT_TRUE(same || p.running()) << kind << " " << name;
      moved += !same;
    });
    EXPECT_GT(moved, 0) << kind;
  }
}

TEST(Accumulation, DrawsOtherNoiseForEachPartAndAsMuchAsOnePartNeeds) {
  Subject s(tiny_options({}));
  std::vector<std::vector<float>> noise;
  const Phase phase{.name = "own", .trains = "D", .at_once = 1, .terms = [&](const Inputs& part, Rng* rng) {
                      noise.push_back(randn({4}, *rng, DType::f32, Device::cpu()).to_floats());
                      return Terms{.total = mean(s.d()(part["images"])), .stat = "", .report = {}};
                    }};
  Rng rng{.seed = 5, .offset = 7};
  const Inputs in = batch_of({{"images", Tensor::zeros({3, 8, 8, 3}, DType::f32, Device::cpu())}});
  run_phase(phase, s.state, in, &rng);
  ASSERT_EQ(noise.size(), 3u);
  Rng first{.seed = 5, .offset = 7};
  EXPECT_EQ(noise[0], randn({4}, first, DType::f32, Device::cpu()).to_floats());  // as where there is one part
  EXPECT_NE(noise[0], noise[1]);
  EXPECT_NE(noise[1], noise[2]);
  EXPECT_EQ(rng.offset, 8u);
  EXPECT_EQ(rng.seed, 5u);
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
