// Augmentation in training: what is drawn, how p adapts, what phases see, and runs that go on.
#include "training/augment/augment.h"

#include "base/text.h"
#include "engine/threads.h"
#include "models/sngan/sngan.h"
#include "tests/tools/tools_support.h"
#include "training/objectives/sngan.h"
#include "training/run/run_folder.h"
#include "training/step/iteration.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

namespace ada = kernels::ada;
constexpr ImageShape kImages{.height = 16, .width = 24, .channels = 3};

// Numbers [n][k] of n samples.
std::vector<std::vector<double>> drawn(const AugmentOptions& o, double p, int64_t n, uint64_t seed = 1) {
  const Augment augment(o, kImages, Tensor::full({1}, p, DType::f64, Device::cpu()));
  Inputs in;
  Rng rng{.seed = seed};
  augment.draw(in, "x", n, rng);
  const Tensor values = in["x_numbers"];
  const std::vector<double> flat = values.to_doubles();
  std::vector<std::vector<double>> rows(static_cast<size_t>(n));
  for (size_t i = 0; i < flat.size(); ++i) rows[i / size_t(values.dim(1))].push_back(flat[i]);
  return rows;
}

struct Moments {
  double active = 0, mean = 0, square = 0, least = 1e9, most = -1e9;  // of those that are not `otherwise`
};
Moments moments(
    const std::vector<std::vector<double>>& rows, int column, double otherwise,
    double (*f)(double) = [](double v) { return v; }) {
  Moments m;
  for (const auto& row : rows) {
    if (row[size_t(column)] == otherwise) continue;
    const double v = f(row[size_t(column)]);
    ++m.active;
    m.mean += v;
    m.square += v * v;
    m.least = std::min(m.least, v);
    m.most = std::max(m.most, v);
  }
  m.mean /= m.active;
  m.square /= m.active;
  m.active /= double(rows.size());
  return m;
}

double log_2(double v) { return std::log2(v); }

TEST(AdaDraws, AreAsLikelyAsPSays) {
  const auto rows = drawn({.aug = "ada", .pipe = "bgcfnc"}, 0.4, 20000);
  const double off = 0.015;  // four deviations of a rate
  for (const auto& [column, otherwise, rate] : {std::tuple{ada::xflip, 0.0, 0.2},
                                                {ada::rotate90, 0.0, 0.3},
                                                {ada::scale, 1.0, 0.4},
                                                {ada::rotate_before, 0.0, 1 - std::sqrt(0.6)},
                                                {ada::rotate_behind, 0.0, 1 - std::sqrt(0.6)},
                                                {ada::aniso, 1.0, 0.4},
                                                {ada::xfrac_x, 0.0, 0.4},
                                                {ada::brightness, 0.0, 0.4},
                                                {ada::contrast, 1.0, 0.4},
                                                {ada::lumaflip, 0.0, 0.2},
                                                {ada::hue, 0.0, 0.4},
                                                {ada::saturation, 1.0, 0.4},
                                                {ada::noise_size, 0.0, 0.4}})
    EXPECT_NEAR(moments(rows, column, otherwise).active, rate, off) << column;
  for (int band = 0; band < 4; ++band) EXPECT_NEAR(moments(rows, ada::band_gains + band, 1).active, 0.4, off);
  EXPECT_NEAR(moments(rows, ada::cutout_box + 2, 0).active, 0.4, off);
  int apart = 0;  // what belongs together is drawn together
  for (const auto& row : rows) {
    apart += (row[ada::xfrac_x] == 0) != (row[ada::xfrac_y] == 0);
    apart += (row[ada::cutout_box + 2] == 0) != (row[ada::cutout_box + 3] == 0);
  }
  EXPECT_EQ(apart, 0);
}

TEST(AdaDraws, HaveTheSpreadOfThePaper) {
  const auto rows = drawn({.aug = "ada", .pipe = "bgcfnc"}, 1, 20000);
  const auto expect_normal = [&](
                                 int column, double deviation, double (*f)(double) = [](double v) { return v; }) {
    const Moments m = moments(rows, column, NAN, f);
    EXPECT_NEAR(m.mean / deviation, 0, 0.03) << column;
    EXPECT_NEAR(std::sqrt(m.square) / deviation, 1, 0.03) << column;
    EXPECT_GT(m.most / deviation, 3) << column;
  };
  expect_normal(ada::scale, 0.2, log_2);
  expect_normal(ada::aniso, 0.2, log_2);
  expect_normal(ada::xfrac_x, 0.125 * 24);
  expect_normal(ada::xfrac_y, 0.125 * 16);
  expect_normal(ada::brightness, 0.2);
  expect_normal(ada::contrast, 0.5, log_2);
  expect_normal(ada::saturation, 1, log_2);
  for (int band = 0; band < 4; ++band) expect_normal(ada::band_gains + band, 1, log_2);
  for (const int column : {ada::rotate_before, ada::rotate_behind, ada::hue}) {
    const Moments m = moments(rows, column, NAN);
    EXPECT_NEAR(m.square, M_PI * M_PI / 3, 0.1);
    EXPECT_TRUE(m.least >= -float(M_PI) && m.least < -3.13 && m.most <= float(M_PI) && m.most > 3.13);
  }
  EXPECT_NEAR(std::sqrt(moments(rows, ada::noise_size, NAN).square), 0.1, 0.003);
  EXPECT_GE(moments(rows, ada::noise_size, NAN).least, 0);
  for (const auto& [column, size] : {std::pair{ada::xint_x, 24}, {ada::xint_y, 16}}) {
    const Moments m = moments(rows, column, NAN);
    EXPECT_EQ(m.least, -size / 8);
    EXPECT_EQ(m.most, size / 8);
    for (const auto& row : rows) ASSERT_EQ(row[size_t(column)], std::rint(row[size_t(column)]));
  }
  for (const auto& [column, most] : {std::pair{ada::xflip, 1}, {ada::rotate90, 3}, {ada::lumaflip, 1}}) {
    std::map<double, int> counts;
    for (const auto& row : rows) ++counts[row[size_t(column)]];
    ASSERT_EQ(counts.size(), size_t(most + 1));
    for (const auto& [value, count] : counts) EXPECT_NEAR(count * (most + 1) / 20000.0, 1, 0.06) << column << value;
  }
  EXPECT_NEAR(moments(rows, ada::cutout_box, NAN).mean, 8, 0.2);
  EXPECT_NEAR(moments(rows, ada::cutout_box + 1, NAN).mean, 12, 0.3);
  EXPECT_EQ(rows[0][ada::cutout_box + 2], 4);
  EXPECT_EQ(rows[0][ada::cutout_box + 3], 6);
}

TEST(AdaDraws, NothingIsDrawnAtZeroNorOfWhatThePipeLacks) {
  for (const auto& [pipe, p] : {std::pair{"bgcfnc", 0.0}, {"xflip", 1.0}})
    for (const auto& row : drawn({.aug = "fixed", .pipe = pipe}, p, 50)) {
      EXPECT_TRUE(row[ada::rotate_before] == 0 && row[ada::xfrac_x] == 0 && row[ada::hue] == 0);
      EXPECT_TRUE(row[ada::scale] == 1 && row[ada::saturation] == 1 && row[ada::cutout_box + 2] == 0);
      EXPECT_TRUE(p > 0 || row[ada::xflip] == 0);
    }
}

TEST(DiffAugmentDraws, StayWithinTheirRanges) {
  const auto rows = drawn({.aug = "diffaug-color-translation-cutout"}, 0, 5000);
  const auto expect = [&](int column, double least, double most) {
    const Moments m = moments(rows, column, NAN);
    EXPECT_NEAR(m.least, least, 0.01 * (most - least)) << column;
    EXPECT_NEAR(m.most, most, 0.01 * (most - least)) << column;
    EXPECT_NEAR(m.mean, (least + most) / 2, 0.03 * (most - least)) << column;
  };
  expect(0, -0.5, 0.5);
  expect(1, 0, 2);
  expect(2, 0.5, 1.5);
  expect(3, -2, 2);  // of 16 rows
  expect(4, -3, 3);  // of 24 columns
  expect(5, 0, 16);
  expect(6, 0, 24);
  EXPECT_EQ(rows[0][7], 4);
  EXPECT_EQ(rows[0][8], 6);
}

TEST(AugmentOptions, SayWhatIsWrong) {
  AugmentOptions o;
  const auto set = [&](const std::string& flag, const std::string& text) {
    return message_of<ConfigError>([&] {
      for_each_option(o, [&](const Option& option, const OptionValue& value) {
        if (option.name() == flag) set_from_text(option, value, {text});
      });
    });
  };
  EXPECT_MENTIONS(set("--aug", "adda"), "expected noaug, ada, fixed or diffaug-");
  EXPECT_MENTIONS(set("--aug", "diffaug-"), "each once");
  EXPECT_MENTIONS(set("--aug", "diffaug-color-color"), "each once");
  EXPECT_MENTIONS(set("--augpipe", "bgx"), "expected one of blit, geom, color, filter, noise, cutout, bg, bgc");
  EXPECT_MENTIONS(set("--augpipe", "+"), "transforms like xflip+scale");
  EXPECT_MENTIONS(set("-p", "1.5"), "from 0 to 1");
  o.aug = "fixed";
  o.pipe = "geom+noise";
  EXPECT_TRUE(o.transforms_by("aniso") && o.transforms_by("noise"));
  EXPECT_FALSE(o.transforms_by("xflip") || o.transforms_by("cutout"));
}

TrainOptions tiny(const std::string& aug, DType type = DType::f64) {
  TrainOptions o = tiny_options({}, type);
  o.augment.aug = aug;
  return o;
}

struct Stepping {
  explicit Stepping(const TrainOptions& o)
      : options(o), state(options, Device::cpu()), noise(options, state), iteration(options, state, nullptr, noise) {}
  double p() { return state.scalar("augment_p").item(); }
  TrainOptions options;
  TrainState state;
  Reals noise;
  Iteration iteration;
};

// A step is 4 iterations' images of 1,000 times the kimg in which p goes from 0 to 1.
TEST(Ada, MovesPEveryFourIterations) {
  TrainOptions o = tiny("ada");
  o.augment.target = -1;  // any sign is more
  o.augment.ada_kimg = 0.1;
  Stepping up(o);
  for (int i = 1; i <= 8; ++i) {
    up.iteration.run();
    EXPECT_NEAR(up.p(), i / 4 * 4 * 4 / 100.0, 1e-12) << i;
  }
  o.augment.target = 1;
  Stepping down(o);
  down.state.scalar("augment_p").copy_from(Tensor::full({1}, 0.2, DType::f64, Device::cpu()));
  for (int i = 1; i <= 8; ++i) {
    down.iteration.run();
    EXPECT_NEAR(down.p(), i < 4 ? 0.2 : i < 8 ? 0.04 : 0, 1e-12) << i;  // never below 0
  }
}

// Reals of Dmain and of Dreg count alike.
TEST(Ada, CountsSignsOfAllRealsThatDSees) {
  Stepping run(tiny("ada"));
  run.iteration.run();  // Dreg is due in the first
  std::vector<double> signs = run.state.scalar("augment_signs").to_doubles();
  EXPECT_EQ(signs[1], 8);
  run.iteration.run();
  EXPECT_EQ(run.state.scalar("augment_signs").to_doubles()[1], 12);
  const Stat stat = run.state.stats.read().at("Loss/signs/real");
  EXPECT_EQ(stat.finite, 3);
  EXPECT_NEAR(stat.sum * 4, run.state.scalar("augment_signs").to_doubles()[0], 1e-5);
}

// A logit that is no number has no sign.
TEST(Ada, SumsSignsOfNumbersOnly) {
  Tensor sums = Tensor::zeros({2}, DType::f32, Device::cpu()), p = Tensor::full({1}, 0.5, DType::f32, Device::cpu());
  const Tensor logits = Tensor::from(std::vector<float>{2, -1, NAN, 0, 3}, {5, 1}, DType::f32, Device::cpu());
  run(sums.stream(), kernels::AddSigns<float>{sums.mutable_as<float>(), logits.as<float>(), 5});
  EXPECT_EQ(sums.to_floats(), (std::vector<float>{1, 4}));
  const auto adapt = [&](float target) {
    run(p.stream(), kernels::AdaptProbability<float>{p.mutable_as<float>(), sums.mutable_as<float>(), target, 0.125f});
    return p.item();
  };
  EXPECT_EQ(adapt(0.1f), 0.625);
  EXPECT_EQ(sums.to_floats(), (std::vector<float>{0, 0}));
  EXPECT_EQ(adapt(0.1f), 0.625);  // nothing was seen
  sums.copy_from(Tensor::from(std::vector<float>{3, 4}, {2}, DType::f32, Device::cpu()));
  EXPECT_EQ(adapt(0.75f), 0.625);
}

// Draws are of the batch, so micro-batches change sums by rounding only.
TEST(Augment, MicroBatchesSeeWhatTheBatchDoes) {
  for (const char* aug : {"fixed", "diffaug-color-translation-cutout"}) {
    TrainOptions o = tiny(aug);
    o.augment.p = 0.7;
    o.augment.pipe = "bgcfnc";
    o.model.as<StyleGan2Options>().mbstd_group = 1;
    Subject subject(o);
    Reals noise(o, subject.state);
    subject.phases = phases_of({.options = subject.options, .state = subject.state, .reals = &noise});
    for (const char* name : {"Gmain", "Dmain", "Dreg"}) {
      Phase& phase = subject.phase(name);
      Rng rng{.seed = 4};
      for (const auto& feed : phase.feeds) feed->refresh(rng);
      const Inputs in = phase.draw(rng);
      const PhaseResult whole = subject.run(name, in), parts = subject.run(name, in, 1);
      EXPECT_NEAR(whole["loss"].item(), parts["loss"].item(), 1e-12) << name;
      ASSERT_EQ(whole.gradients.size(), parts.gradients.size());
      for (size_t i = 0; i < whole.gradients.size(); ++i) {
        const auto a = whole.gradients[i].to_doubles(), b = parts.gradients[i].to_doubles();
        for (size_t k = 0; k < a.size(); ++k) ASSERT_NEAR(a[k], b[k], 1e-10) << name;
      }
    }
  }
}

// Dreg is R1 by the images as they are: D behind the transforms, composed by hand, gives the same.
TEST(Augment, R1GoesThroughIt) {
  TrainOptions o = tiny("fixed");
  o.augment.p = 1;
  Subject subject(o);
  Rng rng{.seed = 9};
  Inputs in;
  in.put("images", uniform({4, 8, 8, 3}, -1, 1, rng, DType::f64, Device::cpu()));
  const double plain = subject.run("Dreg", in)["regularizer"].item();
  const Augment augment(o, subject.state);
  augment.draw(in, "reals", 4, rng);
  const double through = subject.run("Dreg", in)["regularizer"].item();
  const Tensor x = in["images"].require_grad();
  const Tensor y = ada_pipe(o.augment)->apply(x, in["reals_numbers"], {});
  const Tensor slopes = grad(subject.state.discriminator()(y, {}), {x})[0];
  EXPECT_NEAR(through, mean(sum_per_sample(square(slopes))).item(), 1e-12);
  EXPECT_GT(std::abs(through - plain), 1e-6);
}

// Nothing is drawn for what is not augmented, so runs of before go on as they did.
TEST(Augment, WithoutItNothingIsDrawnOrKept) {
  Stepping plain(tiny("noaug")), with(tiny("ada"));
  const auto draws = [](Stepping& s) {
    const uint64_t before = s.state.rng.offset;
    s.iteration.run_phase(0, 1);
    return s.state.rng.offset - before;
  };
  EXPECT_EQ(draws(plain) + 1, draws(with));
  EXPECT_EQ(plain.state.scalars.size() + 2, with.state.scalars.size());
  EXPECT_FALSE(plain.state.stats.read().contains("Loss/signs/real"));
}

std::vector<double> weights_after(const TrainOptions& o, int count) {
  Stepping s(o);
  for (int i = 0; i < 2; ++i) s.iteration.run();
  std::vector<double> all;
  for (const Role& role : s.state.roles)
    for (const Parameter& p : role.network->parameters()) {
      const auto v = p.value().to_doubles();
      all.insert(all.end(), v.begin(), v.end());
    }
  EXPECT_GT(std::ssize(all), count);
  return all;
}

TEST(Augment, ThreadsDoNotMatter) {
  for (const char* aug : {"fixed", "diffaug-color-translation-cutout"}) {
    TrainOptions o = tiny(aug, DType::f32);
    o.augment.p = 0.8;
    o.augment.pipe = "bgcfnc";
    const int before = threads();
    set_threads(1);
    const auto one = weights_after(o, 100);
    set_threads(2);
    const auto two = weights_after(o, 100);
    set_threads(before);
    EXPECT_EQ(one, two) << aug;
    for (const double v : one) ASSERT_TRUE(std::isfinite(v));
  }
}

struct AugmentRun : testing::Test {
  Scratch scratch;
  void SetUp() override { write_images(scratch / "data", 16, 8, 3, 2); }
  Ran train(const std::string& runs, const std::string& more) {
    return tool("gan-train",
                fmt::format("--outdir '{0}/{1}' --data '{0}/data' --cfg small --cbase 64 --cmax 8 --z-dim 8 "
                            "--w-dim 8 --map-depth 1 --batch 4 --tick 0.008 --snap 1 --grid 2x2 --precision "
                            "fp32 --threads 1 --metrics none {2}",
                            scratch.path().string(), runs, more));
  }
};

// Between two moves of p, too: 7 and 13 iterations.
TEST_F(AugmentRun, AResumedRunEndsWithTheSameBits) {
  const std::string options = "--aug ada --ada-kimg 0.2 --target -0.5 --augpipe bgcfnc";
  ASSERT_EQ(train("whole", options + " --kimg 0.052").code, 0);
  ASSERT_EQ(train("parts", options + " --kimg 0.028").code, 0);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}/parts' --resume latest --kimg 0.052 --threads 1",
                                                    scratch.path().string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const SafetensorsFile a = read_safetensors(latest_snapshot(scratch / "whole")),
                        b = read_safetensors(latest_snapshot(scratch / "parts"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
  EXPECT_GT(a.at("state.augment_p").to_doubles()[0], 0);
}

TEST_F(AugmentRun, EveryModeTrainsAndIsTold) {
  const Ran adaptive = train("ada", "--aug ada --target 0.5 --kimg 0.032");
  ASSERT_EQ(adaptive.code, 0) << adaptive.output;
  EXPECT_MENTIONS(adaptive.output, "augment    ada bgc, target 0.5, 500 kimg");
  EXPECT_MENTIONS(adaptive.output, "-ada-");
  EXPECT_MENTIONS(adaptive.output, "  p 0.");
  EXPECT_MENTIONS(adaptive.output, "  sign ");
  const fs::path run = latest_snapshot(scratch / "ada").parent_path();
  EXPECT_MENTIONS(run.filename().string(), "-small-ada-");
  EXPECT_MENTIONS(run.filename().string(), "-target0.5");
  EXPECT_MENTIONS(read_text(run / "stats.jsonl"), "\"Progress/augment\"");
  EXPECT_MENTIONS(read_text(run / "stats.jsonl"), "\"Loss/signs/real\"");
  const Ran fixed = train("fixed", "--aug fixed -p 0.3 --augpipe xflip+cutout --kimg 0.016");
  ASSERT_EQ(fixed.code, 0) << fixed.output;
  EXPECT_MENTIONS(fixed.output, "augment    fixed xflip+cutout, p 0.3");
  EXPECT_MENTIONS(fixed.output, "-small-fixed-");
  const Ran diff = train("diff", "--aug diffaug-color-translation-cutout --kimg 0.016");
  ASSERT_EQ(diff.code, 0) << diff.output;
  EXPECT_MENTIONS(diff.output, "-small-diffaug-color-translation-cutout");
  const Ran transfer = train(
      "transfer", fmt::format("--aug ada --kimg 0 --dry-run --init '{}'", latest_snapshot(scratch / "ada").string()));
  EXPECT_MENTIONS(transfer.output, "ada bgc, target 0.6, 100 kimg");
}

TEST_F(AugmentRun, OptionsThatMeanNothingAreRefused) {
  for (const auto& [given, says] : {std::pair{"--aug fixed", "--aug fixed needs -p"},
                                    {"-p 0.2", "-p goes with --aug fixed, not noaug"},
                                    {"--aug fixed -p 0.2 --target 0.5", "--target goes with --aug ada, not fixed"},
                                    {"--aug diffaug-color --augpipe bg", "--augpipe goes with --aug ada or fixed"},
                                    {"--aug ada --cache-features --freeze-d 1",
                                     "--cache-features keeps what D's frozen blocks make of the real images once"}}) {
    const Ran ran = train("refused", std::string(given) + " --kimg 0.016");
    EXPECT_NE(ran.code, 0) << given;
    EXPECT_MENTIONS(ran.output, says);
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
}

// Each mode on the other model, whose D takes several steps an iteration; kimg of p count their reals.
TEST(AugmentSngan, Trains) {
  for (const char* aug : {"ada", "fixed", "diffaug-color-translation-cutout"}) {
    TrainOptions o = TrainOptions::of("sngan");
    o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 1};
    o.batch = o.batch_gpu = 2;
    o.augment = {.aug = aug, .p = 0.5, .target = -1, .ada_kimg = 1};
    Stepping s(o);
    for (int i = 0; i < (o.augment.adapts() ? 4 : 1); ++i) s.iteration.run();
    EXPECT_TRUE(all_finite(s.state.generator().parameters()) && all_finite(s.state.discriminator().parameters()));
    EXPECT_NEAR(o.augment.adapts() ? s.p() : 0.04, 4 * 5 * 2 / 1000.0, 1e-6);
  }
}

}  // namespace
}  // namespace firn
