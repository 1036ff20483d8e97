// The table of configurations, the schedule's formulas, and options as JSON.
#include <cmath>
#include <nlohmann/json.hpp>

#include "metrics/metric.h"
#include "tests/training/training_support.h"

namespace firn {
namespace {

TrainOptions configured(const std::string& cfg, const ImageShape& images, const Overlay& set = {},
                        const SourceModel* source = nullptr) {
  TrainOptions o = TrainOptions::of("stylegan2");
  o.cfg = cfg;
  configure(o, images, 0, set, source);
  return o;
}

TrainOptions resolved(const std::string& cfg, int size, const Overlay& set = {}, const SourceModel* source = nullptr) {
  const TrainOptions o = configured(cfg, {size, size, 3}, set, source);
  o.check();
  return o;
}

TEST(Config, AutoFollowsTheResolution) {
  const TrainOptions at32 = resolved("auto", 32), at256 = resolved("auto", 256), at512 = resolved("auto", 512),
                     at1024 = resolved("auto", 1024);
  EXPECT_EQ(at32.batch, 32);
  EXPECT_EQ(model_of(at32).channel_base, 16384);
  EXPECT_DOUBLE_EQ(at32.lr, 0.0025);
  EXPECT_DOUBLE_EQ(at32.ema_kimg, 10);
  EXPECT_EQ(at256.batch, 16);
  EXPECT_NEAR(loss_of(at256).r1_gamma, 0.8192, 1e-12);
  EXPECT_DOUBLE_EQ(at256.ema_kimg, 5);
  EXPECT_EQ(model_of(at512).channel_base, 32768);
  EXPECT_EQ(at1024.batch, 4);
  EXPECT_NEAR(loss_of(at1024).r1_gamma, 52.4, 0.1);
  EXPECT_DOUBLE_EQ(at1024.lr, 0.002);
  for (const TrainOptions& o : {at32, at256, at512, at1024}) {
    EXPECT_EQ(model_of(o).mapping_layers, 2);
    EXPECT_EQ(model_of(o).mbstd_group, 4);
    EXPECT_DOUBLE_EQ(o.ema_ramp, 0.05);
  }
}

TEST(Config, NamedConfigurationsAreThoseOfThePapers) {
  const TrainOptions s = resolved("stylegan2", 256), p = resolved("paper256", 256), q = resolved("paper512", 512),
                     r = resolved("paper1024", 1024), c = resolved("cifar", 32);
  EXPECT_EQ(
      std::tuple(s.batch, s.batch_gpu, model_of(s).mbstd_group, model_of(s).channel_base, model_of(s).mapping_layers),
      std::tuple(32, 4, 4, 32768, 8));
  EXPECT_EQ(
      std::tuple(p.batch, p.batch_gpu, model_of(p).mbstd_group, model_of(p).channel_base, model_of(p).mapping_layers),
      std::tuple(64, 8, 8, 16384, 8));
  EXPECT_EQ(std::tuple(q.batch, model_of(q).mbstd_group, model_of(q).channel_base), std::tuple(64, 8, 32768));
  EXPECT_EQ(std::tuple(r.batch, model_of(r).mbstd_group, model_of(r).channel_base), std::tuple(32, 4, 32768));
  EXPECT_EQ(std::tuple(c.batch, c.batch_gpu, model_of(c).mbstd_group, model_of(c).mapping_layers),
            std::tuple(64, 32, 32, 2));
  EXPECT_EQ(std::tuple(s.lr, loss_of(s).r1_gamma, s.ema_kimg, s.ema_ramp), std::tuple(0.002, 10.0, 10.0, -1.0));
  EXPECT_EQ(std::tuple(p.lr, loss_of(p).r1_gamma, p.ema_kimg), std::tuple(0.0025, 1.0, 20.0));
  EXPECT_EQ(std::tuple(q.lr, loss_of(q).r1_gamma, q.ema_kimg), std::tuple(0.0025, 0.5, 20.0));
  EXPECT_EQ(std::tuple(r.lr, loss_of(r).r1_gamma, r.ema_kimg), std::tuple(0.002, 2.0, 10.0));
  EXPECT_EQ(std::tuple(c.lr, loss_of(c).r1_gamma, c.ema_kimg, c.ema_ramp, c.kimg),
            std::tuple(0.0025, 0.01, 500.0, 0.05, 100000.0));
  EXPECT_EQ(std::tuple(loss_of(c).pl_weight, loss_of(c).style_mixing), std::tuple(0.0, 0.0));
  EXPECT_EQ(model_of(c).d_architecture, Architecture::orig);
}

// The shorter side a power of two, the longer a multiple of its quarter.
TEST(Config, DefaultsFitEverySizeAndEveryBatch) {
  for (const Preset& preset : objective_of(StyleGan2Options{}).presets)
    for (int side = 8; side <= 1024; side *= 2)
      for (int quarters = 4; quarters <= 32; ++quarters)
        for (const auto& [width, height] : {std::pair{side, side / 4 * quarters}, {side / 4 * quarters, side}})
          for (const char* batch : {"", "6", "7", "10", "24", "25", "32"}) {
            const TrainOptions o =
                configured(preset.name, {height, width, 3}, *batch ? Overlay{{"--batch", batch}} : Overlay{});
            ASSERT_NO_THROW(o.check()) << preset.name << " " << width << "x" << height << " " << o.batch;
            ASSERT_EQ(o.batch_gpu % model_of(o).mbstd_group, 0);
            const bool alone = o.batch_gpu == 1 || std::max(width, height) > 2048;
            ASSERT_TRUE(alone || model_of(o).mbstd_group > 1) << o.batch;
          }
}

TEST(Config, AGroupThatDividesTheBatchIsTaken) {
  EXPECT_EQ(model_of(resolved("auto", 32, {{"--batch", "6"}})).mbstd_group, 3);
  EXPECT_EQ(model_of(resolved("auto", 32, {{"--batch", "7"}})).mbstd_group, 7);
  EXPECT_EQ(model_of(resolved("auto", 32, {{"--batch", "25"}})).mbstd_group, 5);
  // A source that says its own takes the place of the configuration's.
  const auto of_source = [](int group, const Overlay& set = {}) {
    const SourceModel source{.g = true, .d = true, .described = true, .model = StyleGan2Options{.mbstd_group = group}};
    return model_of(resolved("auto", 32, set, &source)).mbstd_group;
  };
  EXPECT_EQ(of_source(8), 8);
  EXPECT_EQ(of_source(8, {{"--batch", "12"}}), 6);
  EXPECT_EQ(of_source(1), 1);
  const TrainOptions o = configured("auto", {256, 320, 3});
  EXPECT_EQ(std::pair(o.batch, model_of(o).mbstd_group), std::pair(12, 4));
  EXPECT_MENTIONS(message_of<ConfigError>([] { resolved("auto", 32, {{"--mbstd-group", "3"}}); }), "--mbstd-group");
}

TEST(Config, NumbersThatMakeNoSenseAreTold) {
  TrainOptions o = resolved("auto", 32);
  o.kimg = INFINITY;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--kimg inf: expected a number from 0 to 1000000000");
  o.kimg = NAN;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--kimg nan");
  o.kimg = 1;
  loss_of(o).style_mixing = 2;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--mixing 2: expected a number from 0 to 1");
  loss_of(o).style_mixing = 0;
  o.lr = INFINITY;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--lr inf: expected a number above 0");
}

TEST(Config, WhatTheUserSetsWins) {
  const TrainOptions o = resolved(
      "paper256", 64,
      {{"--kimg", "5"}, {"--gamma", "3"}, {"--batch", "16"}, {"--batch-gpu", "8"}, {"--channel-base", "4096"}});
  EXPECT_EQ(std::tuple(o.batch, o.batch_gpu, model_of(o).channel_base, o.kimg, loss_of(o).r1_gamma),
            std::tuple(16, 8, 4096, 5.0, 3.0));
  EXPECT_EQ(model_of(o).mbstd_group, 8);
}

TEST(Config, AFlagThatAModelOrItsLossLacksIsTold) {
  EXPECT_EQ(message_of<ConfigError>([] {
              resolved("auto", 32, {{"--frobnicate", "1"}});
            }),
            "--frobnicate means nothing to StyleGAN2");
  EXPECT_MENTIONS(message_of<ConfigError>([] { resolved("auto", 32, {{"--n-dis", "1"}}); }), "--n-dis means nothing");
  TrainOptions sngan = TrainOptions::of("sngan");
  for (const char* flag : {"--gamma", "--map-depth"})
    EXPECT_MENTIONS(message_of<ConfigError>([&] {
                      configure(sngan, {32, 32, 3}, 0, {{flag, "1"}});
                    }),
                    std::string(flag) + " means nothing to SNGAN");
}

TEST(Config, OneKindIsNotTakenForAnother) {
  const TrainOptions sngan = TrainOptions::of("sngan");
  EXPECT_MENTIONS(message_of<ConfigError>([&] { model_of(sngan); }), "options of stylegan2, not of sngan");
  EXPECT_THROW(loss_of(sngan), ConfigError);
  EXPECT_MENTIONS(message_of<ConfigError>([] { TrainOptions::of("vqgan"); }), "there are stylegan2");
  EXPECT_MENTIONS(message_of<ConfigError>([] { TrainOptions{}.check(); }), "no model was chosen");
}

TEST(Config, AResumedRunTakesOnlyWhatMayChange) {
  TrainOptions o = resolved("auto", 32);
  Overlay{{"--kimg", "7"}, {"--gamma", "2"}, {"--batch", "32"}}.apply_resumed(o);
  EXPECT_EQ(std::pair(o.kimg, loss_of(o).r1_gamma), std::pair(7.0, 2.0));
  for (const auto& [flag, text] :
       {std::pair{"--batch", "16"}, {"--z-dim", "8"}, {"--freeze-d", "1"}, {"--cfg", "small"}})
    EXPECT_MENTIONS(message_of<ConfigError>([&] {
                      Overlay{{flag, text}}.apply_resumed(o);
                    }),
                    std::string(flag) + " differs from the run that --resume goes on with");
}

// A run of any length leaves something to choose from.
TEST(Config, GivesTenToTwentySnapshotsAndEvaluations) {
  for (const double kimg : {0.1, 1.0, 7.0, 40.0, 41.0, 64.0, 79.0, 81.0, 100.0, 200.0, 1600.0, 25000.0, 100000.0}) {
    const TrainOptions o = configured("auto", {64, 64, 3}, {{"--kimg", fmt::format("{}", kimg)}});
    const double snapshots = kimg / (o.kimg_per_tick * o.snap);
    EXPECT_GE(snapshots, 10) << kimg;
    EXPECT_LE(snapshots, 20.0001) << kimg;
    EXPECT_LE(o.kimg_per_tick, 4);
    ASSERT_EQ(o.metrics.names.size(), 1u);
    const MetricName name = parse_metric(o.metrics.names[0]);
    EXPECT_GE(name.fakes, 100);
    EXPECT_LE(name.fakes, 5000);
  }
  const TrainOptions given = configured(
      "auto", {64, 64, 3}, {{"--kimg", "40"}, {"--kimg-per-tick", "1"}, {"--snap", "7"}, {"--metrics", "none"}});
  EXPECT_EQ(given.kimg_per_tick, 1);
  EXPECT_EQ(given.snap, 7);
  EXPECT_TRUE(given.metrics.names.empty());
}

TEST(Config, MetricsAreNamedAndChecked) {
  const TrainOptions o =
      configured("auto", {64, 64, 3}, {{"--metrics", "fid5k_full,swd"}, {"--stop-when", "swd:no-better:3"}});
  EXPECT_EQ(o.metrics.names, (std::vector<std::string>{"fid5k_full", "swd"}));
  EXPECT_EQ(stop_when(o.metrics)->evaluations, 3);
  EXPECT_THROW(configured("auto", {64, 64, 3}, {{"--metrics", "fid5k_full,bad"}}), ConfigError);
  for (const char* text : {"swd", "swd:no-better", "swd:no-better:0", "swd:better:3", "swd:no-better:x", ":::"}) {
    TrainOptions wrong = o;
    wrong.metrics.stop_when = text;
    EXPECT_THROW(wrong.check(), ConfigError) << text;
  }
}

TEST(Config, ATransferHasNoRamp) {
  TrainOptions o = TrainOptions::of("stylegan2");
  o.init = "source.safetensors";
  configure(o, {32, 32, 3}, 0, {});
  EXPECT_LT(o.ema_ramp, 0);
}

TEST(Config, ContradictionsAreNamed) {
  TrainOptions o = resolved("auto", 32);
  o.batch = 30;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--batch 30 is not a multiple of --batch-gpu 32");
  o.batch = o.batch_gpu = 6;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "minibatch-std group (4)");
  EXPECT_MENTIONS(message_of<ConfigError>([] { preset(StyleGan2Options{}, "paper123"); }), "paper256");
  o = resolved("auto", 32);
  o.freeze.blocks = o.freeze.layers = 1;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--freezed");
}

TEST(Config, OptionsSurviveJson) {
  TrainOptions o = resolved("cifar", 32, {{"--gamma", "0.1"}});
  o.data = {.path = "some where.zip", .mirror = true, .subset = 7, .classes = {3, 1}};
  o.freeze.patterns = {"D:b32.*"};
  o.seed = 1234567890123456789;
  o.fingerprint = {.images = 7, .names = "a", .sizes = "b", .labels = "c", .classes = "d"};
  const TrainOptions back = train_options_from_json(nlohmann::json::parse(to_json(o).dump()), "test");
  EXPECT_EQ(to_json(back), to_json(o));
  EXPECT_EQ(back.data.classes, o.data.classes);
  EXPECT_EQ(back.seed, o.seed);
  nlohmann::json older = to_json(o);
  older.erase("fingerprint");
  EXPECT_EQ(train_options_from_json(older, "test").fingerprint.images, 0);
}

TEST(Config, HostileJsonIsAnIoError) {
  nlohmann::json j = to_json(resolved("auto", 32));
  j["model"]["g_architecture"] = "transformer";
  EXPECT_MENTIONS(message_of([&] { train_options_from_json(j, "x.safetensors"); }), "x.safetensors");
  j = to_json(resolved("auto", 32));
  j["model"]["z_dim"] = "many";
  EXPECT_MENTIONS(message_of([&] { train_options_from_json(j, "x.safetensors"); }), "x.safetensors");
  j["model"]["z_dim"] = 1 << 30;
  EXPECT_MENTIONS(message_of([&] { train_options_from_json(j, "x.safetensors"); }),
                  "x.safetensors: --z-dim 1073741824: expected a number from 1 to 8192");
  j = to_json(resolved("auto", 32));
  j["model"]["c_dim"] = 1 << 30;
  EXPECT_MENTIONS(message_of([&] { train_options_from_json(j, "x.safetensors"); }), "larger than anything");
}

TEST(Schedule, LazyAdamCorrectsRateAndDecay) {
  TrainOptions o = resolved("auto", 32);
  const AdamOptions g = lazy_adam(o, 4), d = lazy_adam(o, 16), plain = lazy_adam(o, 0);
  EXPECT_DOUBLE_EQ(g.lr, 0.0025 * 4 / 5);
  EXPECT_DOUBLE_EQ(g.beta2, std::pow(0.99, 4.0 / 5));
  EXPECT_DOUBLE_EQ(d.lr, 0.0025 * 16 / 17);
  EXPECT_DOUBLE_EQ(d.beta1, 0);
  EXPECT_DOUBLE_EQ(plain.lr, 0.0025);
}

TEST(Config, TheLearningRateFallsInALine) {
  TrainOptions o = TrainOptions::of("stylegan2");
  o.kimg = 100;
  EXPECT_EQ(lr_share(o, 99'000), 1);
  o.lr_decay_kimg = 60;
  EXPECT_EQ(lr_share(o, 0), 1);
  EXPECT_EQ(lr_share(o, 60'000), 1);
  EXPECT_DOUBLE_EQ(lr_share(o, 70'000), 0.75);
  EXPECT_DOUBLE_EQ(lr_share(o, 100'000), 0);
  EXPECT_DOUBLE_EQ(lr_share(o, 101'000), 0);
}

TEST(Schedule, AverageStartsAsACopyAndRampsUp) {
  TrainOptions o;
  o.batch = 32;
  o.ema_kimg = 10;
  o.ema_ramp = 0.05;
  EXPECT_EQ(ema_decay(o, 0, o.batch), 0);
  EXPECT_DOUBLE_EQ(ema_decay(o, 64000, o.batch), std::pow(0.5, 32 / 3200.0));
  EXPECT_DOUBLE_EQ(ema_decay(o, 10'000'000, o.batch), std::pow(0.5, 32 / 10000.0));
  o.ema_ramp = -1;
  EXPECT_DOUBLE_EQ(ema_decay(o, 0, o.batch), std::pow(0.5, 32 / 10000.0));
}

TEST(Stats, WhatIsNotFiniteIsCountedApart) {
  Stat s;
  s.add(1);
  s.add(3);
  s.add(std::nan(""));
  EXPECT_DOUBLE_EQ(s.mean(), 2);
  EXPECT_DOUBLE_EQ(s.deviation(), 1);
  EXPECT_FALSE(s.mostly_not_finite());
  for (int i = 0; i < 2; ++i) s.add(INFINITY);
  EXPECT_TRUE(s.mostly_not_finite());
}

TEST(Config, OldSnapshotsKeepTheirRulesOfFolders) {
  TrainOptions o = resolved("auto", 64);
  o.data.subset = 100;
  o.dataset_size = 40;
  o.data.background = {1, 2, 3};
  nlohmann::json json = to_json(o);
  const TrainOptions now = train_options_from_json(json, "new");
  EXPECT_EQ(std::tuple(now.data.by_number, now.data.folder_classes, now.data.subset), std::tuple(true, false, 100));
  EXPECT_EQ(now.data.background, o.data.background);
  for (const char* key : {"by_number", "folder_classes", "folder", "background"}) json["data"].erase(key);
  const TrainOptions old = train_options_from_json(json, "old");
  EXPECT_EQ(std::tuple(old.data.by_number, old.data.folder_classes, old.data.subset), std::tuple(false, true, 0));
}

TEST(Config, ClassesWithoutImagesAreNotSampled) {
  EXPECT_EQ(sampled_classes(4, {}), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(sampled_classes(4, {3, 0, 0, 1}), (std::vector<int>{0, 3}));
}

}  // namespace
}  // namespace firn
