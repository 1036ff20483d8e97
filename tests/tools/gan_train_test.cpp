// gan-train from outside: exit codes, one-line errors, and what survives a kill, a full disk and Ctrl-C.
#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanTrain : testing::Test {
  Scratch scratch;
  fs::path runs = scratch / "runs";
  void SetUp() override { write_images(scratch / "data", 16, 8, 3, 2); }

  // Trains a network elsewhere, to start from.
  std::string init_from_source() {
    const Ran ran = tool("gan-train", tiny_train(scratch, fmt::format("--outdir '{}'", (scratch / "source").string())));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return fmt::format("--init '{}'", latest_snapshot(scratch / "source").string());
  }

  void expect_one_line(const std::string& arguments, int code, const std::string& part) {
    const Ran ran = tool("gan-train", arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
};

TEST_F(GanTrain, HelpIsGroupedWithExamples) {
  const Ran ran = tool("gan-train", "--help");
  EXPECT_EQ(ran.code, 0);
  for (const char* part :
       {"Run:", "Data:", "Configuration:", "Where to start:", "Machine:", "Examples:", "--freeze-d", "--resume latest"})
    EXPECT_MENTIONS(ran.output, part);
}

TEST_F(GanTrain, ContradictoryOptionsAreOneLineAndExitTwo) {
  const std::string d = scratch.path().string();
  expect_one_line("--outdir x", 2, "--data is required");
  expect_one_line(tiny_train(scratch, "--resume latest --init a.safetensors"), 2, "--resume");
  expect_one_line(tiny_train(scratch, "--freeze-d 1 --freezed 4"), 2, "--freezed");
  expect_one_line(tiny_train(scratch, "--batch-gpu 3"), 2, "not a multiple");
  expect_one_line(tiny_train(scratch, "--batch-gpu 4 --mbstd-group 3"), 2, "minibatch-std");
  expect_one_line(tiny_train(scratch, "--fp32"), 2, "--precision");
  expect_one_line(tiny_train(scratch, "--freeze-d 9"), 2, "cannot freeze 9 blocks");
  expect_one_line(tiny_train(scratch, "--freeze D:nothing"), 2, "nothing");
  expect_one_line(tiny_train(scratch, "--cache-features"), 2, "frozen as a whole");
  expect_one_line(tiny_train(scratch, "--cache-features --freezed 1"), 2, "frozen as a whole");
  expect_one_line(tiny_train(scratch, "--freeze-d 1 --cache-features --no-cache-features"), 2, "contradict");
  expect_one_line(tiny_train(scratch, "--data-memory gpu"), 2, "auto, host, device and shards");
  expect_one_line(tiny_train(scratch, "--grid 3"), 2, "--grid");
  expect_one_line(tiny_train(scratch, "--device gpu7"), 2, "gpu7");
  expect_one_line(tiny_train(scratch, "--frobnicate"), 2, "frobnicate");
  expect_one_line(tiny_train(scratch, "--gamma -1"), 2, "--gamma");
  expect_one_line(tiny_train(scratch, "--resize --resolution 24"), 2, "--resolution SIZE --resize fits the images");
  for (const char* name : {"a/b", "../x", "'a\nb'"})
    expect_one_line(tiny_train(scratch, fmt::format("--run-name {}", name)), 2, "one folder's name");
  EXPECT_FALSE(fs::exists(runs));
}

TEST_F(GanTrain, WhatGoesWrongIsOneLineAndExitsOne) {
  const std::string d = scratch.path().string();
  expect_one_line("--outdir x --data /no/such/set.zip", 1, "/no/such/set.zip");
  write_text(scratch / "file", "x");
  expect_one_line(
      fmt::format("{} --outdir '{}/file/runs'", tiny_train(scratch).substr(tiny_train(scratch).find("--data")), d), 1,
      "file");
  write_text(scratch / "bad.safetensors", "no snapshot at all");
  expect_one_line(tiny_train(scratch, fmt::format("--init '{}/bad.safetensors'", d)), 1, "bad.safetensors");
  expect_one_line(tiny_train(scratch, fmt::format("--resume '{}/bad.safetensors'", d)), 1, "bad.safetensors");
  expect_one_line(tiny_train(scratch, "--resume latest"), 1, "no run to resume");
}

TEST_F(GanTrain, DryRunWritesNothing) {
  const Ran ran = tool("gan-train", tiny_train(scratch, "--dry-run --freeze-d 1 " + init_from_source()));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "frozen");
  EXPECT_FALSE(fs::exists(runs));
}

TEST_F(GanTrain, ARunOnTheWorkingFolderHasItsName) {
  const std::string arguments = tiny_train(scratch, "--data . --kimg 0.008");
  const Ran ran =
      shell(fmt::format("cd '{}' && '{}' {}", (scratch / "data").string(), tool_path("gan-train"), arguments));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_TRUE(fs::exists(runs / "00000-data-small-kimg0.008-batch8")) << ran.output;
}

TEST_F(GanTrain, ResumeRefusesAnotherModelOrData) {
  ASSERT_EQ(tool("gan-train", tiny_train(scratch)).code, 0);
  const std::string base = fmt::format("--outdir '{}' --resume latest ", runs.string());
  expect_one_line(base + "--resolution 16", 2, "--resolution differs");
  expect_one_line(base + "--batch 16", 2, "--batch differs");
  expect_one_line(base + "--freeze-d 1", 2, "--freeze-d differs");
  expect_one_line(base + fmt::format("--data '{}'", write_images(scratch / "big", 16, 16).string()), 2, "16x16");
  expect_one_line(base + fmt::format("--data '{}'", write_images(scratch / "few", 5).string()), 2, "5 images");
  const Ran done = tool("gan-train", base);
  EXPECT_EQ(done.code, 0);
  EXPECT_MENTIONS(done.output, "nothing to do");
}

TEST_F(GanTrain, TransferSaysWhatWasCopiedAndFreezes) {
  ASSERT_EQ(tool("gan-train", tiny_train(scratch)).code, 0);
  const Ran ran =
      tool("gan-train",
           tiny_train(scratch, fmt::format("--init '{}' --freezed 1 --subset 4", latest_snapshot(runs).string())));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "0 newly initialised");
  EXPECT_MENTIONS(ran.output, "backward multiplications are gone");
  EXPECT_EQ(latest_snapshot(runs).parent_path().filename().string().substr(0, 6), "00001-");
}

// Starts gan-train and waits until its n-th snapshot is there.
pid_t start_and_wait(const std::string& arguments, const fs::path& runs, int snapshots) {
  const pid_t child = start("gan-train", arguments);
  for (int i = 0; i < 3000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::error_code ignored;
    for (const auto& run : fs::directory_iterator(runs, ignored)) {
      if (!fs::exists(run.path() / "log.txt")) continue;
      const std::string log = read_text(run.path() / "log.txt");
      int saved = 0;
      for (size_t at = 0; (at = log.find("saved ", at)) != std::string::npos; ++at) ++saved;
      if (saved >= snapshots) return child;
    }
  }
  return child;
}

// Kills a run, resumes it, and expects the end of one that was not killed.
void expect_same_end_after_kill(const Scratch& scratch, const fs::path& runs, const std::string& more) {
  const pid_t child = start_and_wait(tiny_train(scratch, more), runs, 2);
  kill(child, SIGKILL);
  ASSERT_EQ(wait_for(child), 128 + SIGKILL);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1", runs.string()));
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  const fs::path killed = latest_snapshot(runs);
  ASSERT_EQ(tool("gan-train", tiny_train(scratch, more)).code, 0);
  EXPECT_NE(latest_snapshot(runs), killed);
  EXPECT_EQ(read_bytes(latest_snapshot(runs)), read_bytes(killed));
  const std::string stats = read_text(killed.parent_path() / "stats.jsonl"),
                    whole = read_text(latest_snapshot(runs).parent_path() / "stats.jsonl");
  EXPECT_EQ(std::ranges::count(stats, '\n'), std::ranges::count(whole, '\n'));
}

TEST_F(GanTrain, KilledRunResumesToTheSameEnd) { expect_same_end_after_kill(scratch, runs, ""); }

TEST_F(GanTrain, KilledRunWithCachedFeaturesResumesToTheSameEnd) {
  expect_same_end_after_kill(scratch, runs, "--freeze-d 1 --cache-features --mirror " + init_from_source());
  const fs::path run = latest_snapshot(runs).parent_path();
  EXPECT_MENTIONS(read_text(run / "training_options.json"), "\"cache_features\": true");
  EXPECT_MENTIONS(read_text(run / "log.txt"), "of all images behind D's frozen blocks (1), kept on cpu");
  EXPECT_MENTIONS(read_text(run / "log.txt"), "32 features computed");
  const Ran without =
      tool("gan-train",
           fmt::format("--outdir '{}' --resume latest --threads 1 --kimg 0.16 --no-cache-features", runs.string()));
  EXPECT_EQ(without.code, 0) << without.output;
  EXPECT_MENTIONS(read_text(run / "training_options.json"), "\"cache_features\": false");
}

TEST_F(GanTrain, ImagesOnTheDeviceTrainTheSame) {
  ASSERT_EQ(tool("gan-train", tiny_train(scratch, "--mirror --cond --data-memory host")).code, 0);
  const fs::path host = latest_snapshot(runs);
  ASSERT_EQ(tool("gan-train", tiny_train(scratch, "--mirror --cond --data-memory device")).code, 0);
  EXPECT_NE(latest_snapshot(runs), host);
  EXPECT_EQ(read_bytes(latest_snapshot(runs)), read_bytes(host));
}

TEST_F(GanTrain, TwoProcessesDoNotShareARunFolder) {
  const pid_t child = start_and_wait(tiny_train(scratch, "--kimg 1000"), runs, 1);
  const Ran second = tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1", runs.string()));
  EXPECT_EQ(second.code, 1);
  EXPECT_EQ(second.lines(), 1) << second.output;
  EXPECT_MENTIONS(second.output, "another process");
  kill(child, SIGKILL);
  wait_for(child);
}

TEST_F(GanTrain, LatestIsTheNewestRunEvenWithoutASnapshot) {
  ASSERT_EQ(tool("gan-train", tiny_train(scratch)).code, 0);
  fs::create_directories(runs / "00007-killed");
  const Ran ran = tool("gan-train", fmt::format("--outdir '{}' --resume latest", runs.string()));
  EXPECT_EQ(ran.code, 1);
  EXPECT_MENTIONS(ran.output, "00007-killed");
}

TEST_F(GanTrain, CtrlCSavesAndSaysHowToGoOn) {
  const pid_t child = start_and_wait(tiny_train(scratch, "--kimg 1000"), runs, 1);
  kill(child, SIGINT);
  EXPECT_EQ(wait_for(child), 130);
  const std::string log = read_text(latest_snapshot(runs).parent_path() / "log.txt");
  EXPECT_MENTIONS(log, "--resume latest");
  EXPECT_GT(snapshot_options(read_safetensors(latest_snapshot(runs))).kimg, 999);
}

TEST_F(GanTrain, FullDiskKeepsWhatWasSaved) {
  ASSERT_EQ(tool("gan-train", tiny_train(scratch)).code, 0);
  const fs::path latest = latest_snapshot(runs);
  const std::vector<std::byte> before = read_bytes(latest);
  const Ran ran = shell(fmt::format("ulimit -f {}; '{}' --outdir '{}' --resume latest --kimg 0.192 --threads 1",
                                    before.size() / 512 / 2, tool_path("gan-train"), runs.string()));
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_MENTIONS(ran.output, "gan-train: ");
  EXPECT_MENTIONS(ran.output, "File too large");
  EXPECT_EQ(read_bytes(latest), before);
  for (const auto& entry : fs::directory_iterator(latest.parent_path())) EXPECT_NE(entry.path().extension(), ".tmp");
}

}  // namespace
}  // namespace firn
