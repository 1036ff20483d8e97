// gan-convert from outside, and the tools that read other programs' files without it.
#include <nlohmann/json.hpp>

#include "io/pytorch_file.h"
#include "tests/tools/tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

const fs::path published = fs::path(FIRN_TEST_DATA) / "golden/published";

struct GanConvert : testing::Test {
  Scratch scratch;
  std::string at(const char* name) const { return (scratch / name).string(); }
  static std::string of(const char* name) { return (published / name).string(); }
  Ran convert(const std::string& arguments) { return tool("gan-convert", arguments); }
  std::vector<std::byte> images(const std::string& snapshot) {
    const Ran ran = tool(
        "gan-sample", fmt::format("--snapshot {} --seeds 0-3 --trunc 0.8 --raw {}", snapshot, at("raw.safetensors")));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return read_safetensors(at("raw.safetensors")).at("images").bytes;
  }
};

TEST_F(GanConvert, WhatComesOutMakesTheImagesOfWhatWentIn) {
  for (const char* name : {"nvidia.pkl", "tensorflow.pkl", "rosinality.pt"}) {
    const std::vector<std::byte> direct = images(of(name));
    for (const char* out : {"a.safetensors", "a.pt"}) {
      const Ran ran = convert(fmt::format("{} {} --force", of(name), at(out)));
      EXPECT_EQ(ran.code, 0) << ran.output;
      EXPECT_EQ(images(at(out)), direct) << name << " " << out;
    }
  }
}

TEST_F(GanConvert, AFileForEachNetworkBecomesOne) {
  EXPECT_EQ(convert(fmt::format("{} {} {}", of("chainer_g.npz"), of("chainer_d.npz"), at("both.pt"))).code, 0);
  const Ran ran = convert(at("both.pt") + " --inspect");
  EXPECT_MENTIONS(ran.output, "model: SNGAN-projection, ch 2, z 6");
  EXPECT_MENTIONS(ran.output, "classes: 3");
  EXPECT_MENTIONS(ran.output, "G: 50 tensors, 5251 values");
  EXPECT_MENTIONS(ran.output, "D: 35 tensors, 1245 values");
}

TEST_F(GanConvert, InspectTellsWhatIsInAFile) {
  const Ran ran = convert(of("nvidia.pkl") + " --inspect");
  EXPECT_EQ(ran.code, 0);
  for (const char* line :
       {"format: stylegan2-ada-pytorch\n", "images: 8x8, 3 channels\n", "latents: 6\n", "mapping depth 2",
        "said: training_set_kwargs.xflip true\n", "not read: cvD.judge: vision_aided_loss.cv_discriminator.Judge\n",
        "  G_ema.synthesis.b8.conv0.weight F32 [6,8,3,3]\n"})
    EXPECT_MENTIONS(ran.output, line);
}

TEST_F(GanConvert, OnlyWhatIsAskedForIsWritten) {
  ASSERT_EQ(convert(fmt::format("{} {} --only G_ema", of("nvidia.pkl"), at("g.pt"))).code, 0);
  for (const auto& [name, tensor] : read_pytorch(at("g.pt")).tensors) EXPECT_TRUE(name.starts_with("G_ema.")) << name;
  const Ran none = convert(fmt::format("{} {} --only D", of("chainer_g.npz"), at("d.pt")));
  EXPECT_EQ(none.code, 1);
  EXPECT_MENTIONS(none.output, "there is no D in it");
}

TEST_F(GanConvert, EndingsAreReadInEitherCase) {
  ASSERT_EQ(convert(fmt::format("{} {}", of("nvidia.pkl"), at("A.SAFETENSORS"))).code, 0);
  EXPECT_TRUE(read_safetensors(at("A.SAFETENSORS")).contains("G_ema.mapping.w_avg"));
}

TEST_F(GanConvert, TrainingStartsFromAPickleAsItIs) {
  write_images(scratch / "data", 8, 8);
  const Ran ran =
      tool("gan-train", fmt::format("--outdir {} --data {} --init {} --batch 4 --kimg 0.004 --grid 2x2 --threads 1 "
                                    "--precision fp32 --metrics none --freeze-d 1 --method l2-sp --embed-source",
                                    at("runs"), at("data"), of("nvidia.pkl")));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "D      from D      13 copied, 0 skipped, 0 newly initialised");
  EXPECT_MENTIONS(ran.output, "clamp 2");
}

TEST_F(GanConvert, WhatIsWrongIsSaidInALine) {
  write_text(at("there.pt"), "x");
  const std::pair<std::string, const char*> cases[] = {
      {of("nvidia.pkl") + " " + at("there.pt"), "is there already; --force"},
      {of("nvidia.pkl") + " " + at("x.bin"), "ends in .safetensors, .pt or .pth"},
      {of("nvidia.pkl"), "takes files and, last, the one to write"},
      {"--inspect", "takes the files to look at"},
      {at("none.pkl") + " " + at("x.pt"), "No such file"},
      {of("chainer_g.npz") + " " + of("nvidia.pkl") + " " + at("x.pt"), "is of a SNGAN-projection"},
      {of("protocol2.pkl") + " " + at("x.pt"), "no tensor of G, G_ema or D"},
      {of("nvidia.pkl") + " " + at("no/such/x.pt"), "x.pt"},
      {at("there.pt") + " " + at("x.pt"), "there.pt"}};
  for (const auto& [arguments, part] : cases) {
    const Ran ran = convert(arguments);
    EXPECT_NE(ran.code, 0) << arguments;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
  EXPECT_FALSE(fs::exists(at("x.pt")));
}

}  // namespace
}  // namespace firn
