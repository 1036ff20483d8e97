// Snapshots that earlier releases wrote (tests/golden/snapshots) go on and give pictures as they did there.
#include <nlohmann/json.hpp>

#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

void expect_near(const SafetensorsFile& file, const std::string& name, const std::vector<double>& expected) {
  std::vector<double> values = file.at(name).to_doubles();
  values.resize(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-5) << name << " " << i;
}

TEST(OldSnapshots, GoOnAndGivePicturesAsTheirReleaseDid) {
  const fs::path snapshot = fs::path(FIRN_TEST_DATA) / "golden/snapshots/firn-0.1.safetensors";
  const SafetensorsFile before = read_safetensors(snapshot);
  ASSERT_FALSE(before.metadata.contains("model"));  // as releases wrote them when there was one model
  const nlohmann::json written = nlohmann::json::parse(before.metadata.at("options"));
  ASSERT_FALSE(written["model"].contains("kind"));
  nlohmann::json now = to_json(snapshot_options(before));
  EXPECT_EQ(now["model"]["kind"], "stylegan2");
  for (const auto& [key, value] : written.items())
    if (value.is_object())
      for (const auto& [inner, v] : value.items()) EXPECT_EQ(now[key][inner], v) << key << " " << inner;
    else
      EXPECT_EQ(now[key], value) << key;

  const Scratch scratch;
  write_images(scratch / "data", 8, 8, 1, 2);
  const Ran ran = tool("gan-train",  // the size of a PNG depends on zlib
                       fmt::format("--outdir '{0}/runs' --data '{0}/data' --data-changed --resume '{1}' --kimg 0.02 "
                                   "--tick 0.02 --threads 1",
                                   scratch.path().string(), snapshot.string()));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const fs::path latest = latest_snapshot(scratch / "runs");
  const SafetensorsFile after = read_safetensors(latest);
  expect_near(after, "state.counters", {20, 5, 3, 20, 0});
  expect_near(after, "state.data", {2, 4});
  EXPECT_EQ(after.at("state.rng").to_doubles()[1], 129);
  expect_near(after, "state.pl_mean", {0.02198477089});
  expect_near(after, "G.mapping.w_avg", {0.05283600092, 0.09511232376});
  expect_near(after, "G.mapping.embed.weight", {-0.3632271886, -1.0124783516, -1.2391024828, 1.3203936815});
  expect_near(after, "G_ema.synthesis.b8.torgb.weight", {-0.5268964171, 0.7667680383});
  expect_near(after, "D.b4.out.weight", {-0.3818728924, -0.6794158816, 0.6680691838, -0.8570087552});
  EXPECT_EQ(after.at("D.b8.conv0.weight").bytes, before.at("D.b8.conv0.weight").bytes);  // frozen

  const std::string raw = (scratch / "raw.safetensors").string();
  const Ran sampled =
      tool("gan-sample", fmt::format("--snapshot '{}' --seeds 0-1 --raw '{}' --threads 1", latest.string(), raw));
  ASSERT_EQ(sampled.code, 0) << sampled.output;
  EXPECT_EQ(read_safetensors(raw).at("images").shape, (std::vector<int64_t>{2, 1, 8, 8}));
  expect_near(read_safetensors(raw), "images",
              {0.02156865597, -0.10823552310, -0.55363959074, -1.04096412659, -1.46379530430, -1.52105665207});
}

}  // namespace
}  // namespace firn
