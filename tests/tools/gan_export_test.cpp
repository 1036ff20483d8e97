// gan-export from outside.
#include "io/onnx.pb.h"
#include "models/files.h"
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanExport : testing::Test {
  static void SetUpTestSuite() {
    scratch = new Scratch;
    write_images(*scratch / "data", 16, 8, 3, 2);
    ASSERT_EQ(tool("gan-train", tiny_train(*scratch, "--cond --kimg 0.032 --metrics swd")).code, 0);
    snapshot = latest_snapshot(*scratch / "runs");
  }
  static void TearDownTestSuite() { delete scratch; }
  static Ran exported(const std::string& arguments) {
    return tool("gan-export", fmt::format("'{}' {}", snapshot.string(), arguments));
  }
  static std::string at(const char* name) { return (*scratch / name).string(); }

  static inline Scratch* scratch = nullptr;
  static inline fs::path snapshot;
};

TEST_F(GanExport, WritesAnOnnxFileThatReadsAsOne) {
  const Ran ran = exported(at("g.onnx") + " --trunc 0.7");
  ASSERT_EQ(ran.code, 0) << ran.output;
  proto::onnx::Model model;
  ASSERT_TRUE(model.ParseFromString(read_text(at("g.onnx"))));
  ASSERT_EQ(model.graph().input_size(), 3);
  EXPECT_EQ(model.graph().input(1).name(), "labels");
  EXPECT_EQ(model.graph().output(0).name(), "images");
}

TEST_F(GanExport, ADemoIsOnePageWithTheNetworkInside) {
  const Ran ran = exported(fmt::format("--demo '{}' --title 'A <b> & c'", at("demo")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const std::string page = read_text(*scratch / "demo/index.html");
  EXPECT_MENTIONS(page, "<title>A &lt;b&gt; &amp; c</title>");
  EXPECT_MENTIONS(page, R"({"classes":2,"truncation":true,"z_dim":8})");
  const auto place = page.find("const model = '");
  ASSERT_NE(place, std::string::npos);
  EXPECT_GT(page.find("';", place), place + 10000);
  EXPECT_EQ(page.find("http:"), std::string::npos);
  EXPECT_EQ(page.find("https:"), std::string::npos);
}

TEST_F(GanExport, ACardHoldsWhatAHubShowsAndWhatSamplingNeeds) {
  const std::string run = snapshot.parent_path().string();
  const Ran ran = tool("gan-export", fmt::format("'{}' --card '{}' --title Dots", run, at("card")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const std::string text = read_text(*scratch / "card/README.md");
  EXPECT_TRUE(text.starts_with("---\nlibrary_name: firn\npipeline_tag: unconditional-image-generation\n")) << text;
  EXPECT_MENTIONS(text, "# Dots\n");
  EXPECT_MENTIONS(text, "of 2 classes");
  EXPECT_MENTIONS(text, "`data`, 0.032 thousand images");
  EXPECT_MENTIONS(text, "| metric | value | better |");
  EXPECT_EQ(text.find(scratch->path().string()), std::string::npos);
  const Image sheet = load_image(*scratch / "card/samples.png");
  EXPECT_EQ(std::pair(sheet.width, sheet.height), std::pair(32, 32));
  const SafetensorsFile weights = read_safetensors(*scratch / "card/model.safetensors");
  for (const auto& [name, tensor] : weights.tensors) EXPECT_TRUE(name.starts_with("G_ema.")) << name;

  const auto images = [&](const std::string& of) {
    const Ran sampled =
        tool("gan-sample", fmt::format("--snapshot '{}' --seeds 0-3 --raw '{}'", of, at("raw.safetensors")));
    EXPECT_EQ(sampled.code, 0) << sampled.output;
    return read_safetensors(at("raw.safetensors")).at("images").bytes;
  };
  EXPECT_EQ(images(at("card/model.safetensors")), images(run));
  EXPECT_EQ(tool("gan-export", fmt::format("'{0}' --card '{0}'", at("card/model.safetensors"))).code, 1);

  const std::string again = fmt::format("'{}' --card '{}'", run, at("card"));  // a licence may stand in it by now
  EXPECT_MENTIONS(tool("gan-export", again).output, "README.md is there already; --force replaces it");
  EXPECT_EQ(read_text(*scratch / "card/README.md"), text);
  EXPECT_EQ(tool("gan-export", again + " --force").code, 0);
  EXPECT_NE(read_text(*scratch / "card/README.md"), text);
}

TEST_F(GanExport, WhatIsConvertedIsNotSaidToBeTrainedHere) {
  const std::string theirs = std::string(FIRN_TEST_DATA) + "/golden/published/nvidia.pkl";
  ASSERT_EQ(tool("gan-export", fmt::format("'{}' --card '{}'", theirs, at("theirs"))).code, 0);
  EXPECT_MENTIONS(read_text(*scratch / "theirs/README.md"), "converted from another program's file");
}

TEST_F(GanExport, ASnapshotIsNeverReplacedByAnOnnxFile) {
  fs::copy_file(snapshot, at("other.safetensors"));
  const Ran ran = tool("gan-export", fmt::format("'{}' '{}'", snapshot.string(), at("other.safetensors")));
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "ends in .onnx");
  EXPECT_TRUE(has_network(read_safetensors(at("other.safetensors")), "G"));
}

TEST_F(GanExport, BadInputIsOneLine) {
  SafetensorsFile d = read_safetensors(snapshot);
  std::erase_if(d.tensors, [](const auto& named) { return named.first.starts_with("G"); });
  write_safetensors(*scratch / "d.safetensors", d);
  const std::vector<std::pair<std::string, int>> wrong = {
      {"", 2},
      {at("g.onnx") + " --noise-mode random", 2},
      {at("g.onnx") + " --mapping --synthesis", 2},
      {at("g.onnx") + " --mapping --float", 2},
      {at("g.onnx") + " --synthesis --trunc 0.5", 2},
      {at("g.onnx") + " --weights D", 2},
      {at("g.onnx") + " --title x", 2},
      {"--mapping --demo " + at("demo"), 2},
      {at("none/g.onnx"), 1},
      {fmt::format("'{}'", snapshot.string()), 2},
      {"--demo '" + snapshot.string() + "'", 1},
  };
  for (const auto& [arguments, code] : wrong) {
    const Ran ran = exported(arguments);
    EXPECT_EQ(ran.code, code) << arguments;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
  const Ran none = tool("gan-export", fmt::format("'{}' {}", at("d.safetensors"), at("g.onnx")));
  EXPECT_EQ(none.code, 1);
  EXPECT_MENTIONS(none.output, "no G");
}

}  // namespace
}  // namespace firn
