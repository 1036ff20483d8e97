// What a resumed run goes on with: the same data, wherever it lies now, and no paths in what is published.
#include "training/run/resume.h"

#include <nlohmann/json.hpp>

#include "tests/tools/tools_support.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct ResumeTest : testing::Test {
  Scratch scratch;
  fs::path data = write_images(scratch / "data", 8, 8, 3, 2);
  TrainOptions options = tiny_options(data);

  ResumeTest() {
    const Dataset set(options.data);
    options.dataset_size = set.size();
    options.fingerprint = set.fingerprint();
  }
  std::string refusal() {
    return message_of<ConfigError>([&] { check_resumed_data(options, Dataset(options.data), {}); });
  }
};
using Resume = ResumeTest;

TEST_F(Resume, TheSameDataIsTakenWithoutAWord) {
  const ResumedData same = check_resumed_data(options, Dataset(options.data), {});
  EXPECT_EQ(same.remark, "");
  EXPECT_FALSE(same.new_epoch);
}

TEST_F(Resume, StopsWhenThePicturesAreOthers) {
  save_png(data / "class0/0002.png", pattern(8, 8, 3, 99));
  save_png(data / "class0/0004.png", Image(8, 8, 3));  // of fewer bytes
  EXPECT_MENTIONS(refusal(), "is not the data that the run began with: its files have other sizes");
  EXPECT_MENTIONS(refusal(), "--data-changed");
}

TEST_F(Resume, StopsWhenClassFoldersAreRenamed) {
  options.data.use_labels = true;
  options.cond = true;
  model_of(options).c_dim = 2;
  options.fingerprint = Dataset(options.data).fingerprint();
  fs::rename(data / "class0", data / "class2");
  EXPECT_MENTIONS(refusal(), "its classes have other names");
}

TEST_F(Resume, AcceptsMoreImagesWhenTold) {
  save_png(data / "class0/0099.png", pattern(8, 8, 3, 99));
  EXPECT_MENTIONS(refusal(), "it has 9 images, not 8");
  const ResumedData changed = check_resumed_data(options, Dataset(options.data), {.accept_changes = true});
  EXPECT_TRUE(changed.new_epoch);
  EXPECT_MENTIONS(changed.remark, "it has 9 images, not 8; a new epoch begins");
  EXPECT_EQ(options.dataset_size, 9);
  EXPECT_EQ(check_resumed_data(options, Dataset(options.data), {}).remark, "");
}

TEST_F(Resume, OtherPicturesOfTheSameNumberKeepThePosition) {
  save_png(data / "class0/0004.png", Image(8, 8, 3));
  const ResumedData changed = check_resumed_data(options, Dataset(options.data), {.accept_changes = true});
  EXPECT_FALSE(changed.new_epoch);
  EXPECT_MENTIONS(changed.remark, "its files have other sizes");
}

TEST_F(Resume, OlderSnapshotsSayThatTheyCannotCompare) {
  options.fingerprint = {};
  EXPECT_MENTIONS(check_resumed_data(options, Dataset(options.data), {}).remark, "no fingerprint");
  options.fingerprint = {};
  options.dataset_size = 7;
  EXPECT_MENTIONS(refusal(), "it has 8 images, not 7");
}

TEST_F(Resume, ASnapshotCarriesNoPaths) {
  options.init = (scratch / "source/network.safetensors").string();
  TinyRun run(options, scratch / "run");
  const fs::path snapshot = run.save("s.safetensors");
  const std::string text = read_text(snapshot);
  EXPECT_EQ(text.find(scratch.path().string()), std::string::npos);
  EXPECT_EQ(text.find(scratch.path().filename().string()), std::string::npos);
  const TrainOptions published = snapshot_options(read_safetensors(snapshot));
  EXPECT_EQ(published.data.path, "data");
  EXPECT_EQ(published.init, "network.safetensors");
  EXPECT_EQ(published.fingerprint, options.fingerprint);
  // The run folder knows where its data is.
  EXPECT_EQ(resumable_options(read_safetensors(snapshot), snapshot).data.path, "data");
  write_text(scratch / "run/training_options.json", to_json(options).dump());
  EXPECT_EQ(resumable_options(read_safetensors(snapshot), snapshot).data.path, data);
  EXPECT_EQ(resumable_options(read_safetensors(snapshot), snapshot).init, options.init);
  options.data.path = scratch / "another";
  write_text(scratch / "run/training_options.json", to_json(options).dump());
  EXPECT_EQ(resumable_options(read_safetensors(snapshot), snapshot).data.path, scratch / "another");
  options.fingerprint.names = "others";
  write_text(scratch / "run/training_options.json", to_json(options).dump());
  EXPECT_EQ(resumable_options(read_safetensors(snapshot), snapshot).data.path, "data");
}

struct GanTrainResume : testing::Test {
  Scratch scratch;
  fs::path runs = scratch / "runs";
  void SetUp() override {
    write_images(scratch / "data", 16, 8, 3, 2);
    const Ran ran = tool("gan-train", tiny_train(scratch, "--kimg 0.032"));
    ASSERT_EQ(ran.code, 0) << ran.output;
  }
  Ran resume(const std::string& more = {}) {
    return tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1 {}", runs.string(), more));
  }
};

TEST_F(GanTrainResume, MovedDataIsAskedFor) {
  fs::rename(scratch / "data", scratch / "moved");
  const Ran lost = resume();
  EXPECT_EQ(lost.code, 1) << lost.output;
  EXPECT_EQ(lost.lines(), 1);
  EXPECT_MENTIONS(lost.output, "--data says where it is now");
  const Ran found = resume(fmt::format("--kimg 0.064 --data '{}'", (scratch / "moved").string()));
  EXPECT_EQ(found.code, 0) << found.output;
  const Ran again = resume("--kimg 0.096");
  EXPECT_EQ(again.code, 0) << again.output;
}

TEST_F(GanTrainResume, APublishedSnapshotAsksForItsData) {
  fs::copy(latest_snapshot(runs), scratch / "published.safetensors");
  EXPECT_EQ(read_text(scratch / "published.safetensors").find(scratch.path().string()), std::string::npos);
  const std::string published = fmt::format("--outdir '{}' --threads 1 --kimg 0.064 --resume '{}'",
                                            (scratch / "other").string(), (scratch / "published.safetensors").string());
  const Ran asked = tool("gan-train", published);
  EXPECT_EQ(asked.code, 2) << asked.output;
  EXPECT_EQ(asked.lines(), 1);
  EXPECT_MENTIONS(asked.output, "was trained on data; give --data");
  const Ran found = tool("gan-train", published + fmt::format(" --data '{}'", (scratch / "data").string()));
  EXPECT_EQ(found.code, 0) << found.output;
}

TEST_F(GanTrainResume, GoesOnWithMoreImagesWhenTold) {
  save_png(scratch / "data/class0/0016.png", pattern(8, 8, 3, 16));
  const Ran refused = resume("--kimg 0.064");
  EXPECT_EQ(refused.code, 2);
  EXPECT_MENTIONS(refused.output, "it has 17 images, not 16");
  const Ran ran = resume("--kimg 0.064 --data-changed");
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "it has 17 images, not 16; a new epoch begins");
  const SafetensorsFile file = read_safetensors(latest_snapshot(runs));
  EXPECT_EQ(file.at("state.counters").to_doubles()[0], 64);
  EXPECT_EQ(file.at("state.data").to_doubles()[1], 32 - 17);  // a new epoch of 17 at 32 images, and one more
  EXPECT_EQ(snapshot_options(file).dataset_size, 17);
  EXPECT_EQ(resume("--kimg 0.096").code, 0);
}

TEST_F(GanTrainResume, MeasuresByOtherMetricsAndWeightsThanBefore) {
  const auto images = [&](const char* name) {
    std::vector<int64_t> all;
    const MetricLog log(latest_snapshot(runs).parent_path());
    for (const auto& [at, value] : log.curves().at(name).points) all.push_back(at);
    return all;
  };
  const Ran first = resume("--kimg 0.064 --metrics fid20_full-pixels");
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(images("fid20_full-pixels"), (std::vector<int64_t>{32, 64}));  // also where it took up
  SafetensorsFile heads;
  const std::vector<float> values(128);
  heads.tensors["lin1.weight"] = StoredTensor::of(std::span<const float>(values), {1, 128, 1, 1});
  write_safetensors(scratch / "heads.safetensors", heads);
  const std::string features = fmt::format("--features '{}'", (scratch / "heads.safetensors").string());
  const Ran other = resume("--kimg 0.096 --metrics swd20_full " + features);
  EXPECT_EQ(other.code, 0) << other.output;
  EXPECT_EQ(images("fid20_full-pixels"), (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(images("swd20_full"), (std::vector<int64_t>{64, 96}));
  EXPECT_MENTIONS(read_text(latest_snapshot(runs).parent_path() / "training_options.json"), "heads.safetensors");
  const Ran done = resume("--metrics fid20_full-pixels,swd20_full");
  EXPECT_EQ(done.code, 0) << done.output;
  EXPECT_MENTIONS(done.output, "nothing to do: ");
  EXPECT_EQ(images("fid20_full-pixels"), (std::vector<int64_t>{32, 64, 96}));
  EXPECT_EQ(images("swd20_full"), (std::vector<int64_t>{64, 96}));
  for (const char* wrong : {"--metrics fid20_full-vgg16", "--features '/no/such/file'"}) {
    const Ran refused = resume(std::string("--kimg 0.128 ") + wrong);
    EXPECT_EQ(refused.code, 1) << refused.output;
    EXPECT_EQ(refused.lines(), 1) << refused.output;
  }
}

}  // namespace
}  // namespace firn
