// Methods in runs: they go on with the same bits, look for the file that they began with, and sample through the miner.
#include <gtest/gtest.h>

#include "io/files.h"
#include "models/files.h"
#include "tests/models/features_support.h"
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct MethodRuns : testing::Test {
  Scratch scratch;
  fs::path source;

  MethodRuns() {
    write_images(scratch / "data", 8, 32, 3, 1);
    write_safetensors(scratch / "squeezenet.safetensors", formula_weights("squeezenet/1"));
    train("source", "--kimg 0.016");
    source = scratch / "source.safetensors";
    fs::copy(latest_snapshot(scratch / "source"), source);
  }
  Ran train(const std::string& runs, const std::string& more) const {
    return tool("gan-train",
                fmt::format("--outdir '{0}/{1}' --data '{0}/data' --model sngan --ch 1 --batch 4 --n-dis 1 "
                            "--grid 2x2 --tick 0.016 --snap 1 --metrics none --precision fp32 --threads 1 "
                            "--features '{0}/squeezenet.safetensors' {2}",
                            scratch.path().string(), runs, more));
  }
  Ran adapt(const std::string& runs, const std::string& more) const {
    return train(runs, fmt::format("--init '{}' {}", source.string(), more));
  }
  Ran resume(const std::string& runs, const std::string& more) const {
    return tool("gan-train",
                fmt::format("--outdir '{}/{}' --resume latest --threads 1 {}", scratch.path().string(), runs, more));
  }
  // The sheet NAME.png of a snapshot, as bytes.
  std::string sample(const fs::path& snapshot, const std::string& name) const {
    const Ran ran = tool("gan-sample", fmt::format("--snapshot '{}' --seeds 0-3 --grid '{}.png'", snapshot.string(),
                                                   (scratch / name).string()));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return read_text(scratch / (name + ".png"));
  }
};

TEST_F(MethodRuns, GoOnWithTheSameBits) {
  for (const char* method :
       {"l2-sp+distill+ewc+cdc+feature-matching --ewc-samples 2", "minegan --miner-steps 5", "glo",
        "vision-aided --vision-aided squeezenet --vision-size 64 --vision-aug ada",
        "projected+vision-aided --d-network squeezenet --d-size 48 --d-width 4 --vision-aided squeezenet --vision-size "
        "64 "
        "--vision-aug noaug --aug noaug --cache-features",
        "scale-shift --scale-shift-on outputs", "fisher+adaptation-aware --probe-kimg 0.008 --fisher-batches 1"}) {
    const std::string how = fmt::format("--method {}", method), whole = fmt::format("whole-{:.3}", method),
                      parts = fmt::format("parts-{:.3}", method);
    const Ran once = adapt(whole, how + " --kimg 0.032");
    ASSERT_EQ(once.code, 0) << once.output;
    ASSERT_EQ(adapt(parts, how + " --kimg 0.016").code, 0);
    const Ran again = resume(parts, "--kimg 0.032");
    ASSERT_EQ(again.code, 0) << again.output;
    const SafetensorsFile a = read_safetensors(latest_snapshot(scratch / whole)),
                          b = read_safetensors(latest_snapshot(scratch / parts));
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << method << " " << name;
  }
}

TEST_F(MethodRuns, NameTheNetworksThatJudgeImages) {
  const Ran begun = train("judged", "--vision-aided squeezenet --vision-size 64 --kimg 0.016");
  ASSERT_EQ(begun.code, 0) << begun.output;
  const SafetensorsFile file = read_safetensors(latest_snapshot(scratch / "judged"));
  EXPECT_TRUE(has_network(file, "vision-squeezenet"));
  for (const auto& [name, tensor] : file.tensors) EXPECT_EQ(name.find("features."), name.npos) << name;

  SafetensorsFile other = read_safetensors(scratch / "squeezenet.safetensors");
  other.tensors.at("classifier.1.bias").bytes[0] ^= std::byte{1};
  write_safetensors(scratch / "squeezenet.safetensors", other);
  const Ran changed = resume("judged", "--kimg 0.032");
  EXPECT_EQ(changed.code, 1);
  EXPECT_MENTIONS(changed.output, "other weights of squeezenet than the run began with");
  fs::remove(scratch / "squeezenet.safetensors");
  EXPECT_EQ(resume("judged", "--kimg 0.032").code, 1);
  const Ran unknown = train("none", "--vision-aided vgg61 --kimg 0.016");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_MENTIONS(unknown.output, "there is no feature network \"vgg61\"");
  const Ran twice = train("none", "--vision-aided vgg16+vgg16 --kimg 0.016");
  EXPECT_EQ(twice.code, 2);
  EXPECT_MENTIONS(twice.output, "--vision-aided vgg16+vgg16 names a network twice");
  const Ran small = train("none", "--vision-aided clip-vit-b32 --vision-size 96 --kimg 0.016");
  EXPECT_EQ(small.code, 2);
  EXPECT_MENTIONS(small.output, "--vision-size 96: clip-vit-b32 takes images of 224 rows alone");
  const Ran tiny = train("none", "--vision-aided squeezenet --vision-size 8 --kimg 0.016");
  EXPECT_EQ(tiny.code, 2);
  EXPECT_MENTIONS(tiny.output, "--vision-size 8: networks need 32 rows at least");
}

TEST_F(MethodRuns, JudgeMapsOfAFrozenNetworkInPlaceOfD) {
  const std::string projected = "--d-kind projected --d-network squeezenet --d-size 48 --d-width 4 --kimg 0.016";
  const Ran begun = adapt("projected", projected);
  ASSERT_EQ(begun.code, 0) << begun.output;
  const fs::path made = latest_snapshot(scratch / "projected");
  const SafetensorsFile file = read_safetensors(made);
  EXPECT_TRUE(file.contains("D_projected.judge3.out.weight"));
  EXPECT_TRUE(file.contains("D_projected.mix0.scales"));
  EXPECT_FALSE(sample(made, "projected").empty());
  const Ran from = train("from", fmt::format("--init '{}' --kimg 0.016", made.string()));  // its G alone
  EXPECT_EQ(from.code, 0) << from.output;
  const Ran deep = adapt("none", projected + " --freeze-d 1");
  EXPECT_EQ(deep.code, 2);
  EXPECT_MENTIONS(deep.output, "--d-kind projected has no layers to freeze");
  const Ran lone = adapt("none", "--d-network squeezenet --kimg 0.016");
  EXPECT_EQ(lone.code, 2);
  EXPECT_MENTIONS(lone.output, "--d-network goes with --method projected");
  const Ran unknown = adapt("none", "--d-kind projcted --kimg 0.016");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_MENTIONS(unknown.output, "no kind of D is called 'projcted'; there are own, projected");
}

TEST_F(MethodRuns, NameTheirSourceOrHoldIt) {
  ASSERT_EQ(adapt("named", "--method l2-sp --kimg 0.016").code, 0);
  EXPECT_FALSE(has_network(read_safetensors(latest_snapshot(scratch / "named")), "G_source"));
  ASSERT_EQ(adapt("held", "--method l2-sp --embed-source --kimg 0.016").code, 0);
  const SafetensorsFile held = read_safetensors(latest_snapshot(scratch / "held")), from = read_safetensors(source);
  for (const auto& [name, tensor] : from.tensors)
    if (name.starts_with("G.")) {
      EXPECT_EQ(held.at("G_source." + name.substr(2)).bytes, tensor.bytes) << name;
    }

  const fs::path moved = scratch / "elsewhere.safetensors";
  fs::rename(source, moved);
  const Ran lost = resume("named", "--kimg 0.032");
  EXPECT_EQ(lost.code, 1);
  EXPECT_MENTIONS(lost.output, "needs the file that the run began with");
  EXPECT_MENTIONS(lost.output, "which is not there; --source says where it is");
  EXPECT_EQ(std::ranges::count(lost.output, '\n'), 1) << lost.output;
  EXPECT_EQ(resume("held", "--kimg 0.032").code, 0);
  const Ran other =
      resume("named", fmt::format("--kimg 0.032 --source '{}'", latest_snapshot(scratch / "held").string()));
  EXPECT_EQ(other.code, 1);
  EXPECT_MENTIONS(other.output, "is another one; --source says where it is");
  const Ran found = resume("named", fmt::format("--kimg 0.032 --source '{}'", moved.string()));
  EXPECT_EQ(found.code, 0) << found.output;
}

TEST_F(MethodRuns, SamplesPassTheMiner) {
  ASSERT_EQ(adapt("mined", "--method minegan --miner-steps 8 --average --kimg 0.016").code, 0);
  const fs::path mined = latest_snapshot(scratch / "mined"), plain = scratch / "plain.safetensors";
  SafetensorsFile file = read_safetensors(mined);
  std::erase_if(file.tensors, [](const auto& t) { return t.first.starts_with("miner"); });
  write_safetensors(plain, file);
  EXPECT_NE(sample(mined, "a"), sample(plain, "b"));
}

TEST_F(MethodRuns, SamplesAreModulatedAndSoIsWhatBeginsWithThem) {
  ASSERT_EQ(adapt("kept", "--method adaptation-aware --probe-kimg 0 --fisher-batches 1 --average --kimg 0.016").code,
            0);
  const fs::path kept = latest_snapshot(scratch / "kept"), plain = scratch / "plain.safetensors";
  SafetensorsFile file = read_safetensors(kept);
  for (auto& [name, tensor] : file.tensors)
    if (name.ends_with(".modulate_out")) std::ranges::fill(tensor.bytes, std::byte{0});
  write_safetensors(plain, file);
  EXPECT_NE(sample(kept, "a"), sample(plain, "b"));

  const Ran on = train("on", fmt::format("--init '{}' --average --kimg 0", kept.string()));
  ASSERT_EQ(on.code, 0) << on.output;
  EXPECT_MENTIONS(on.output, "0 newly initialised");
  const SafetensorsFile folded = read_safetensors(latest_snapshot(scratch / "on"));
  for (const auto& [name, tensor] : folded.tensors) EXPECT_FALSE(name.ends_with(".modulate_out")) << name;
  sample(latest_snapshot(scratch / "on"), "c");
  const Image now = load_image(scratch / "c.png"), then = load_image(scratch / "a.png");
  ASSERT_EQ(now.pixels.size(), then.pixels.size());
  for (size_t i = 0; i < now.pixels.size(); ++i) ASSERT_NEAR(now.pixels[i], then.pixels[i], 1) << i;
}

}  // namespace
}  // namespace firn
