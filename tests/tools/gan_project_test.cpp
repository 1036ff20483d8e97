// gan-project from outside, and what gan-sample does with what it wrote.
#include <nlohmann/json.hpp>

#include "io/npz.h"
#include "tests/models/features_support.h"
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanProject : testing::Test {
  static void SetUpTestSuite() {
    scratch = new Scratch;
    write_images(*scratch / "data", 16, 8, 3, 2);
    ASSERT_EQ(tool("gan-train", tiny_train(*scratch, "--kimg 0.032")).code, 0);
    snapshot = latest_snapshot(*scratch / "runs");
    ASSERT_EQ(
        tool("gan-sample", fmt::format("--snapshot '{}' --seeds 1,2 --outdir {}", snapshot.string(), at("own"))).code,
        0);
  }
  static void TearDownTestSuite() { delete scratch; }
  // No weights and no ffmpeg but what a test names.
  static Ran project(const std::string& arguments, const std::string& set = "FIRN_WEIGHTS=/nowhere PATH=/nowhere") {
    return shell(fmt::format("{} OMP_WAIT_POLICY=passive '{}' '{}' {}", set, tool_path("gan-project"),
                             snapshot.string(), arguments));
  }
  static std::string at(const char* name) { return (*scratch / name).string(); }

  static inline Scratch* scratch = nullptr;
  static inline fs::path snapshot;
};

TEST_F(GanProject, WritesWhatUsersOfNvidiasProjectorKnow) {
  const Ran ran = project(fmt::format("--target {} --outdir {} --steps 150", at("own/seed0001.png"), at("one")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "images are compared by their pixels alone: ");
  EXPECT_MENTIONS(ran.output, "PSNR");
  EXPECT_EQ(load_image(*scratch / "one/target.png"), load_image(*scratch / "own/seed0001.png"));
  const StoredTensor w = read_npz(*scratch / "one/projected_w.npz").at("w");
  EXPECT_EQ(w.shape, (std::vector<int64_t>{1, 4, 8}));
  EXPECT_EQ(w.bytes, read_safetensors(*scratch / "one/projected_w.safetensors").at("ws").bytes);
  EXPECT_FALSE(fs::exists(*scratch / "one/proj"));
  const auto json = nlohmann::json::parse(read_text(*scratch / "one/projections.json"));
  EXPECT_GT(json["projections"][0]["psnr"], 30);
  // gan-sample makes the same picture of either file.
  for (const char* file : {"projected_w.npz", "projected_w.safetensors"}) {
    ASSERT_EQ(tool("gan-sample", fmt::format("--snapshot '{}' --latents {}/{} --outdir {}", snapshot.string(),
                                             at("one"), file, at("again")))
                  .code,
              0);
    EXPECT_EQ(load_image(*scratch / "again/latent0000.png"), load_image(*scratch / "one/proj.png"));
  }
}

TEST_F(GanProject, AFolderIsProjectedSideBySideWithMapsOfNoiseAndLpips) {
  fs::create_directories(*scratch / "weights");
  write_safetensors(*scratch / "weights/squeezenet.safetensors", formula_weights("squeezenet/1"));
  SafetensorsFile heads;
  for (int i = 0; const int channels : {64, 128, 256, 384, 384, 512, 512}) {
    const std::string name = fmt::format("lin{}.model.1.weight", i++);
    heads.tensors[name] = formula_weight(name, {1, channels, 1, 1}, false);
  }
  write_safetensors(*scratch / "weights/lpips_squeeze.safetensors", heads);
  const Ran ran = project(
      fmt::format("--target {} --outdir {} --steps 6 --space w+ --noise --save-video true", at("own"), at("many")),
      fmt::format("PATH=/nowhere FIRN_WEIGHTS={}", at("weights")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "the frames of films become pictures");
  const auto json = nlohmann::json::parse(read_text(*scratch / "many/projections.json"));
  EXPECT_EQ(json["network"], "squeezenet") << ran.output;
  ASSERT_EQ(json["projections"].size(), 2u);
  EXPECT_TRUE(json["projections"][1].contains("lpips"));
  const Image frame = load_image(*scratch / "many/seed0002/proj/frame00005.png");
  EXPECT_EQ(std::pair(frame.width, frame.height), std::pair(16, 8));
  const fs::path found = *scratch / "many/seed0002/projected_w.safetensors";
  EXPECT_EQ(read_safetensors(found).at("noise.2").shape, (std::vector<int64_t>{1, 8, 8}));
  ASSERT_EQ(tool("gan-sample", fmt::format("--snapshot '{}' --latents {} --outdir {}", snapshot.string(),
                                           found.string(), at("noisy")))
                .code,
            0);
  EXPECT_EQ(load_image(*scratch / "noisy/latent0000.png"), load_image(*scratch / "many/seed0002/proj.png"));
}

TEST_F(GanProject, RefusesInOneLineWhatItCannotProject) {
  put(*scratch / "text.png", std::string_view("hello"));
  const auto refused = [&](const std::string& arguments, int code, const char* because) {
    const Ran ran = project(arguments + " --outdir " + at("refused"));
    EXPECT_EQ(ran.code, code) << arguments;
    EXPECT_LE(ran.lines(), 2) << ran.output;  // what it says of missing weights is the other one
    EXPECT_MENTIONS(ran.output, because);
  };
  const std::string good = "--target " + at("own/seed0001.png");
  refused("--target " + at("text.png"), 1, "text.png");
  refused("--target " + at("none.png"), 1, "none.png");
  refused(good + " --space z", 2, "--space z: there are w, w+");
  refused(good + " --class 0", 2, "not conditional");
  refused(good + " --pixel 0", 2, "nothing to compare images by");
  refused(good + " --steps 0", 2, "--steps");
  EXPECT_MENTIONS(project(good + " --outdir " + at("refused") + " --features " + at("text.png")).output, "text.png");
}

TEST_F(GanProject, NetworksWithoutStylesAreRefused) {
  Scratch other;
  write_images(other / "data", 8, 32, 3, 2);
  ASSERT_EQ(tool("gan-train", fmt::format("--outdir '{0}/runs' --data '{0}/data' --model sngan --ch 2 --batch 4 --kimg "
                                          "0.004 --snap 1 --grid 2x2 --precision fp32 --threads 1 --metrics none",
                                          other.path().string()))
                .code,
            0);
  const Ran ran = tool("gan-project", fmt::format("'{}' --target {} --outdir {}",
                                                  latest_snapshot(other / "runs").string(), at("own"), at("refused")));
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "not style-based");
}

TEST_F(GanProject, CtrlCKeepsWhatWasReached) {
  const pid_t child =
      start("gan-project", fmt::format("'{}' --target {} --outdir {} --steps 1000000 --save-video false",
                                       snapshot.string(), at("own/seed0001.png"), at("stopped")));
  for (int i = 0; i < 400 && !fs::exists(*scratch / "stopped/target.png"); ++i) usleep(10'000);
  usleep(300'000);
  kill(child, SIGINT);
  EXPECT_EQ(wait_for(child), 128 + SIGINT);
  EXPECT_TRUE(fs::exists(*scratch / "stopped/projected_w.npz"));
  EXPECT_TRUE(fs::exists(*scratch / "stopped/projections.json"));
}

}  // namespace
}  // namespace firn
