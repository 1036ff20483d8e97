// gan-train --init from outside: the shape that comes from the source, and what stops instead of going on without a
// word.
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanTrainInit : testing::Test {
  Scratch scratch;
  fs::path source;

  void SetUp() override {
    write_images(scratch / "data", 8);
    write_images(scratch / "grey", 8, 8, 1);
    const Ran ran = train("data", "--cfg small --cbase 64 --cmax 8 --z-dim 8 --w-dim 6 --map-depth 8 --conv-clamp 99");
    EXPECT_EQ(ran.code, 0) << ran.output;
    source = latest_snapshot(scratch / "runs");
  }

  Ran train(const std::string& data, const std::string& more) {
    return tool("gan-train",
                fmt::format("--outdir '{0}/runs' --data '{0}/{1}' --batch 4 --kimg 0.004 --grid 2x2 --precision fp32 "
                            "--threads 1 {2}",
                            scratch.path().string(), data, more));
  }
  Ran init(const std::string& data, const std::string& more = {}) {
    return train(data, fmt::format("--dry-run --init '{}' {}", source.string(), more));
  }
  void expect_stop(const Ran& ran, const std::string& part) {
    EXPECT_EQ(ran.code, 2) << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
};

TEST_F(GanTrainInit, TheShapeComesFromTheSource) {
  const Ran ran = init("data", "--freeze-d 1");  // with the default configuration
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output,
                  "mapping depth 8, channel base 64, channel max 8, z 8, w 6, G skip, D resnet, clamp 99\n");
  EXPECT_MENTIONS(ran.output, "D      from D      13 copied, 0 skipped, 0 newly initialised");
  EXPECT_MENTIONS(ran.output, "lr 0.0025");
}

TEST_F(GanTrainInit, AShapeSetByHandThatLosesMuchStops) {
  expect_stop(init("data", "--map-depth 2"), "--map-depth 8 (here 2)");
  expect_stop(init("data", "--channel-max 4"), "--channel-max 8 (here 4)");
  expect_stop(init("data", "--d-arch skip --freeze-d 1"), "--d-arch resnet (here skip)");
  expect_stop(init("data", "--resolution 16 --resize"), "--resolution 8 --resize (here 16)");
  const Ran partial = init("data", "--map-depth 2 --init-partial");
  EXPECT_EQ(partial.code, 0) << partial.output;
  EXPECT_MENTIONS(partial.output, "mapping.fc7.weight: not in this network");
  expect_stop(train("data", "--init-partial"), "--init FILE");
}

TEST_F(GanTrainInit, FrozenTensorsThatAreNewStop) {
  expect_stop(train("data", "--freeze-d 1"), "there is no --init: D: b8.fromrgb.weight");
  expect_stop(train("data", "--freeze G:mapping.fc0"), "G: mapping.fc0.weight, mapping.fc0.bias");
  expect_stop(init("data", "--d-arch skip --freeze D:b4.fromrgb --init-partial"), "D: b4.fromrgb.weight");
  expect_stop(init("data", "--resolution 16 --resize --freeze-d 1 --init-partial"), "D: b16.fromrgb.weight");
  const Ran grey = init("grey", "--freeze-d 1");
  EXPECT_EQ(grey.code, 0) << grey.output;
  EXPECT_MENTIONS(grey.output, "b8.fromrgb.weight: from 3 to 1 channels");
}

TEST_F(GanTrainInit, FirstPicturesOfGreyDataAreTheSourceInGrey) {
  ASSERT_EQ(train("grey", fmt::format("--seed 5 --init '{}'", source.string())).code, 0);
  const fs::path grey = latest_snapshot(scratch / "runs").parent_path() / "fakes-init.png";
  ASSERT_EQ(train("data", fmt::format("--seed 5 --init '{}'", source.string())).code, 0);
  const fs::path colour = latest_snapshot(scratch / "runs").parent_path() / "fakes-init.png";
  const Image a = decode_image(read_bytes(grey), "grey"), b = decode_image(read_bytes(colour), "colour");
  ASSERT_EQ(std::pair(a.width, a.height), std::pair(b.width, b.height));
  const Image grey_a = to_channels(a, 1), grey_b = to_channels(b, 1);
  int compared = 0;
  for (int y = 0; y < b.height; ++y)
    for (int x = 0; x < b.width; ++x) {
      const uint8_t* rgb = b.at(x, y);
      if (std::ranges::any_of(std::span(rgb, 3), [](uint8_t v) { return v == 0 || v == 255; })) continue;  // clipped
      ASSERT_NEAR(*grey_a.at(x, y), *grey_b.at(x, y), 1);
      ++compared;
    }
  EXPECT_GT(compared, 20);
}

TEST_F(GanTrainInit, AFileWithoutMetadataTrainsAndSamples) {
  SafetensorsFile file = read_safetensors(source);
  file.metadata.clear();
  std::erase_if(file.tensors, [](const auto& t) { return t.first.starts_with("state."); });
  write_safetensors(scratch / "plain.safetensors", file);
  const std::string plain = (scratch / "plain.safetensors").string();
  const Ran ran = train("data", fmt::format("--dry-run --init '{}'", plain));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "from " + plain + ": mapping depth 8, channel base 64");
  const auto sampled = [&](const std::string& snapshot) {
    const std::string out = (scratch / "raw.safetensors").string();
    const Ran sample =
        tool("gan-sample", fmt::format("--snapshot '{}' --seeds 0-3 --raw '{}' --threads 1", snapshot, out));
    EXPECT_EQ(sample.code, 0) << sample.output;
    return read_safetensors(out).at("images").to_doubles();
  };
  EXPECT_EQ(sampled(plain), sampled(source.string()));
  std::erase_if(file.tensors, [](const auto& t) { return !t.first.starts_with("G."); });
  write_safetensors(plain, file);
  EXPECT_EQ(sampled(plain), sampled(source.string() + "' --weights 'G"));
}

TEST_F(GanTrainInit, OtherFormatsAreNamed) {
  put(scratch / "x.h5", "\x89HDF\r\n" + std::string(100, 'x'));
  const Ran ran = train("data", fmt::format("--init '{}'", (scratch / "x.h5").string()));
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.lines(), 1);
  EXPECT_MENTIONS(ran.output, "x.h5: not a safetensors file but an HDF5 file");
  EXPECT_MENTIONS(ran.output, "docs/convert.md");
}

TEST_F(GanTrainInit, NumbersThatMakeNoSenseAreOneSentence) {
  expect_stop(train("data", "--seed -1"), "--seed: expected a whole number from 0 up, not '-1'");
  expect_stop(train("data", "--kimg inf"), "--kimg: expected a number from 0 to 1000000000, not 'inf'");
  expect_stop(train("data", "--kimg nan"), "not 'nan'");
  expect_stop(train("data", "--lr 1e300"), "--lr: expected a number");
  expect_stop(train("data", "--batch 99999999999"), "--batch: expected a whole number from 1 to 65536");
  expect_stop(train("data", "--snap ''"), "--snap has an empty value");
  expect_stop(train("data", "--init ''"), "--init has an empty value");
  expect_stop(train("data", "--resolution abc"), "--resolution abc: expected one or two numbers from 1 to 8192");
  expect_stop(train("data", "--grid 99x99"), "--grid 99x99: expected two numbers from 1 to 64");
  expect_stop(train("data", "--classes 99999999999"), "--classes 99999999999: expected whole numbers from 0 to 65535");
}

}  // namespace
}  // namespace firn
