// The table of configurations, the schedule's formulas, and options as JSON.
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/training/training_support.h"

namespace firn {
namespace {

TrainOptions resolved(const std::string& cfg, int size, const PresetOverrides& set = {}) {
  TrainOptions o;
  o.cfg = cfg;
  apply_preset(o, size, size, 3, 0, set);
  o.check();
  return o;
}

TEST(Config, AutoFollowsTheResolution) {
  const TrainOptions at32 = resolved("auto", 32), at256 = resolved("auto", 256), at512 = resolved("auto", 512),
                     at1024 = resolved("auto", 1024);
  EXPECT_EQ(at32.batch, 32);
  EXPECT_EQ(at32.model.channel_base, 16384);
  EXPECT_DOUBLE_EQ(at32.lr, 0.0025);
  EXPECT_DOUBLE_EQ(at32.ema_kimg, 10);
  EXPECT_EQ(at256.batch, 16);
  EXPECT_NEAR(at256.loss.r1_gamma, 0.8192, 1e-12);
  EXPECT_DOUBLE_EQ(at256.ema_kimg, 5);
  EXPECT_EQ(at512.model.channel_base, 32768);
  EXPECT_EQ(at1024.batch, 4);
  EXPECT_NEAR(at1024.loss.r1_gamma, 52.4, 0.1);
  EXPECT_DOUBLE_EQ(at1024.lr, 0.002);
  for (const TrainOptions& o : {at32, at256, at512, at1024}) {
    EXPECT_EQ(o.model.mapping_layers, 2);
    EXPECT_EQ(o.model.mbstd_group, 4);
    EXPECT_DOUBLE_EQ(o.ema_ramp, 0.05);
  }
}

TEST(Config, NamedConfigurationsAreThoseOfThePapers) {
  const TrainOptions s = resolved("stylegan2", 256), p = resolved("paper256", 256), q = resolved("paper512", 512),
                     r = resolved("paper1024", 1024), c = resolved("cifar", 32);
  EXPECT_EQ(std::tuple(s.batch, s.batch_gpu, s.model.mbstd_group, s.model.channel_base, s.model.mapping_layers),
            std::tuple(32, 4, 4, 32768, 8));
  EXPECT_EQ(std::tuple(p.batch, p.batch_gpu, p.model.mbstd_group, p.model.channel_base, p.model.mapping_layers),
            std::tuple(64, 8, 8, 16384, 8));
  EXPECT_EQ(std::tuple(q.batch, q.model.mbstd_group, q.model.channel_base), std::tuple(64, 8, 32768));
  EXPECT_EQ(std::tuple(r.batch, r.model.mbstd_group, r.model.channel_base), std::tuple(32, 4, 32768));
  EXPECT_EQ(std::tuple(c.batch, c.batch_gpu, c.model.mbstd_group, c.model.mapping_layers), std::tuple(64, 32, 32, 2));
  EXPECT_EQ(std::tuple(s.lr, s.loss.r1_gamma, s.ema_kimg, s.ema_ramp), std::tuple(0.002, 10.0, 10.0, -1.0));
  EXPECT_EQ(std::tuple(p.lr, p.loss.r1_gamma, p.ema_kimg), std::tuple(0.0025, 1.0, 20.0));
  EXPECT_EQ(std::tuple(q.lr, q.loss.r1_gamma, q.ema_kimg), std::tuple(0.0025, 0.5, 20.0));
  EXPECT_EQ(std::tuple(r.lr, r.loss.r1_gamma, r.ema_kimg), std::tuple(0.002, 2.0, 10.0));
  EXPECT_EQ(std::tuple(c.lr, c.loss.r1_gamma, c.ema_kimg, c.ema_ramp, c.kimg),
            std::tuple(0.0025, 0.01, 500.0, 0.05, 100000.0));
  EXPECT_EQ(std::tuple(c.loss.pl_weight, c.loss.style_mixing), std::tuple(0.0, 0.0));
  EXPECT_EQ(c.model.d_architecture, Architecture::orig);
}

// The shorter side a power of two, the longer a multiple of its quarter.
TEST(Config, DefaultsFitEverySizeAndEveryBatch) {
  for (const std::string& cfg : preset_names())
    for (int side = 8; side <= 1024; side *= 2)
      for (int quarters = 4; quarters <= 32; ++quarters)
        for (const auto& [width, height] : {std::pair{side, side / 4 * quarters}, {side / 4 * quarters, side}})
          for (const std::optional<int> batch : {std::optional<int>{}, {6}, {7}, {10}, {24}, {25}, {32}}) {
            TrainOptions o;
            o.cfg = cfg;
            apply_preset(o, width, height, 3, 0, {.batch = batch});
            ASSERT_NO_THROW(o.check()) << cfg << " " << width << "x" << height << " " << o.batch;
            ASSERT_EQ(o.batch_gpu % o.model.mbstd_group, 0);
            const bool alone = o.batch_gpu == 1 || std::max(width, height) > 2048;
            ASSERT_TRUE(alone || o.model.mbstd_group > 1) << o.batch;
          }
}

TEST(Config, AGroupThatDividesTheBatchIsTaken) {
  EXPECT_EQ(resolved("auto", 32, {.batch = 6}).model.mbstd_group, 3);
  EXPECT_EQ(resolved("auto", 32, {.batch = 7}).model.mbstd_group, 7);
  EXPECT_EQ(resolved("auto", 32, {.batch = 25}).model.mbstd_group, 5);
  EXPECT_EQ(resolved("auto", 32, {.usual_group = 8}).model.mbstd_group, 8);
  EXPECT_EQ(resolved("auto", 32, {.batch = 12, .usual_group = 8}).model.mbstd_group, 6);
  EXPECT_EQ(resolved("auto", 32, {.usual_group = 1}).model.mbstd_group, 1);
  TrainOptions o;
  apply_preset(o, 320, 256, 3, 0, {});
  EXPECT_EQ(std::pair(o.batch, o.model.mbstd_group), std::pair(12, 4));
  EXPECT_MENTIONS(message_of<ConfigError>([] { resolved("auto", 32, {.mbstd_group = 3}); }), "--mbstd-group");
}

TEST(Config, NumbersThatMakeNoSenseAreTold) {
  TrainOptions o = resolved("auto", 32);
  o.kimg = INFINITY;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--kimg inf: expected a number from 0 up");
  o.kimg = NAN;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--kimg nan");
  o.kimg = 1;
  o.loss.style_mixing = 2;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--mixing 2: expected a number from 0 to 1");
  o.loss.style_mixing = 0;
  o.lr = INFINITY;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--lr inf: expected a number above 0");
}

TEST(Config, WhatTheUserSetsWins) {
  const TrainOptions o =
      resolved("paper256", 64, {.kimg = 5, .gamma = 3, .batch = 16, .batch_gpu = 8, .channel_base = 4096});
  EXPECT_EQ(std::tuple(o.batch, o.batch_gpu, o.model.channel_base, o.kimg, o.loss.r1_gamma),
            std::tuple(16, 8, 4096, 5.0, 3.0));
  EXPECT_EQ(o.model.mbstd_group, 8);
}

TEST(Config, ATransferHasNoRamp) {
  TrainOptions o;
  o.init = "source.safetensors";
  apply_preset(o, 32, 32, 3, 0, {});
  EXPECT_LT(o.ema_ramp, 0);
}

TEST(Config, ContradictionsAreNamed) {
  TrainOptions o = resolved("auto", 32);
  o.batch = 30;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--batch 30 is not a multiple of --batch-gpu 32");
  o.batch = o.batch_gpu = 6;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "minibatch-std group (4)");
  EXPECT_MENTIONS(message_of<ConfigError>([] { preset("paper123", 64); }), "paper256");
  o = resolved("auto", 32);
  o.freeze.blocks = o.freeze.layers = 1;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "--freezed");
}

TEST(Config, OptionsSurviveJson) {
  TrainOptions o = resolved("cifar", 32, {.gamma = 0.1});
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

TEST(Schedule, AverageStartsAsACopyAndRampsUp) {
  TrainOptions o;
  o.batch = 32;
  o.ema_kimg = 10;
  o.ema_ramp = 0.05;
  EXPECT_EQ(ema_decay(o, 0), 0);
  EXPECT_DOUBLE_EQ(ema_decay(o, 64000), std::pow(0.5, 32 / 3200.0));
  EXPECT_DOUBLE_EQ(ema_decay(o, 10'000'000), std::pow(0.5, 32 / 10000.0));
  o.ema_ramp = -1;
  EXPECT_DOUBLE_EQ(ema_decay(o, 0), std::pow(0.5, 32 / 10000.0));
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
  TrainOptions o;
  o.model.c_dim = 4;
  EXPECT_EQ(sampled_classes(o), (std::vector<int>{0, 1, 2, 3}));
  o.class_counts = {3, 0, 0, 1};
  EXPECT_EQ(sampled_classes(o), (std::vector<int>{0, 3}));
}

}  // namespace
}  // namespace firn
