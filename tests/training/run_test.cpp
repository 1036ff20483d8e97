// The loop itself: bit-identical resumption, accumulation, divergence, and what a run folder holds.
#include <nlohmann/json.hpp>

#include "tests/training/training_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

std::vector<std::byte> bytes_of(const fs::path& path) { return read_bytes(path); }

class Resume : public testing::TestWithParam<DType> {};

TEST_P(Resume, LossesAreBitIdentical) {
  const Scratch scratch;
  TrainOptions o =
      tiny_options(write_images(scratch / "data", 10));  // no multiple of the batch: epochs straddle iterations
  model_of(o).activation_type = GetParam();
  TinyRun whole(o, scratch / "whole"), first(o, scratch / "first");
  whole.iterate(12);
  first.iterate(5);
  TinyRun second(o, scratch / "second", first.save("half.safetensors"));
  second.iterate(7);
  EXPECT_EQ(second.state.stats.read(), whole.state.stats.read());
  EXPECT_EQ(second.state.counters, whole.state.counters);
  EXPECT_EQ(second.state.data, whole.state.data);
  EXPECT_EQ(bytes_of(second.save("end.safetensors")), bytes_of(whole.save("end.safetensors")));
}
INSTANTIATE_TEST_SUITE_P(Types, Resume, testing::Values(DType::f32, DType::bf16),
                         [](const auto& i) { return name_of(i.param); });

TEST(Run, StoppedAndResumedEqualsUninterrupted) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 10, 8, 3, 2));
  o.cond = o.data.use_labels = true;
  model_of(o).c_dim = 2;
  TinyRun whole(o, scratch / "whole"), first(o, scratch / "first");
  EXPECT_EQ(whole.run(), Outcome::finished);
  const std::atomic<int> stop = SIGINT;
  EXPECT_EQ(first.run(&stop), Outcome::stopped);  // after one iteration
  EXPECT_EQ(first.state.counters.iteration, 1);
  TinyRun second(o, scratch / "second", scratch / "first/snapshot-latest.safetensors");
  EXPECT_EQ(second.run(), Outcome::finished);
  EXPECT_EQ(bytes_of(scratch / "second/snapshot-latest.safetensors"),
            bytes_of(scratch / "whole/snapshot-latest.safetensors"));
  EXPECT_EQ(bytes_of(scratch / "second/fakes-000000_048.png"), bytes_of(scratch / "whole/fakes-000000_048.png"));
}

TEST(Run, FolderHoldsWhatUsersExpect) {
  const Scratch scratch;
  TinyRun run(tiny_options(write_images(scratch / "data", 8)), scratch / "run");
  run.run();
  for (const char* name :
       {"training_options.json", "log.txt", "stats.jsonl", "reals.png", "fakes-init.png", "fakes-000000_048.png",
        "snapshot-000000_048.safetensors", "snapshot-latest.safetensors", "summary.json"})
    EXPECT_TRUE(fs::exists(run.dir / name)) << name;
  const Image fakes = load_image(run.dir / "fakes-000000_048.png");
  EXPECT_EQ(std::pair(fakes.width, fakes.height), std::pair(16, 16));
  std::istringstream lines(read_text(run.dir / "stats.jsonl"));
  int tick = 0;
  for (std::string line; std::getline(lines, line); ++tick) {
    const nlohmann::json record = nlohmann::json::parse(line);
    EXPECT_EQ(record["Progress/tick"]["mean"], tick);
    for (const char* key : {"Loss/G/loss", "Loss/D/loss", "Loss/scores/real", "Loss/scores/fake", "Timing/Gmain",
                            "Timing/sec_per_kimg", "Resources/cpu_mem_gb"})
      EXPECT_TRUE(record.contains(key)) << key;
  }
  EXPECT_GE(tick, 4);
  EXPECT_MENTIONS(run.output, "img/s");
}

TEST(Run, SnapshotsWithinAThousandImagesHaveNamesOfTheirOwn) {
  EXPECT_EQ(numbered("fakes", 12000, "png"), "fakes-000012.png");
  EXPECT_EQ(numbered("fakes", 12345, "png"), "fakes-000012_345.png");
  EXPECT_LT(numbered("fakes", 12000, "png"), numbered("fakes", 12001, "png"));
  EXPECT_LT(numbered("fakes", 12999, "png"), numbered("fakes", 13000, "png"));
  const Scratch scratch;
  for (const int64_t images : {1000, 1032, 998, 999}) write_text(snapshot_path(scratch.path(), images), "x");
  write_text(scratch / "snapshot-000009_1.safetensors", "x");  // nobody's
  EXPECT_EQ(scratch.count(), 5u);
  prune_snapshots(scratch.path(), 2);
  EXPECT_EQ(scratch.count(), 3u);
  EXPECT_EQ(snapshot_file(scratch.path()), scratch / "snapshot-000001_032.safetensors");
}

TEST(Run, StraysOfKilledSavesAreRemovedAndNothingElse) {
  const Scratch scratch;
  const char* ours[] = {".snapshot-000012.safetensors.345-6.tmp",
                        ".snapshot-000012_032.safetensors.1-0.tmp",
                        ".snapshot-latest.safetensors.345.tmp",
                        ".fakes-000012.png.345-7.tmp",
                        ".fakes-init.png.9-1.tmp",
                        ".stats.jsonl.345-0.tmp"};
  const char* others[] = {".grid.png.345-6.tmp", "snapshot-000012.safetensors", ".snapshot-mine.safetensors.3-4.tmp",
                          "snapshot-000012.safetensors.345-6.tmp", ".stats.jsonl.swp"};
  for (const char* name : ours) write_text(scratch / name, "x");
  for (const char* name : others) write_text(scratch / name, "x");
  remove_strays(scratch.path());
  for (const char* name : ours) EXPECT_FALSE(fs::exists(scratch / name)) << name;
  for (const char* name : others) EXPECT_TRUE(fs::exists(scratch / name)) << name;
}

TEST(Run, WhatOnlyLooksLikeARunFolderIsNone) {
  const Scratch scratch;
  const fs::path run = create_run_folder(scratch.path(), "x");
  write_text(run / "training_options.json", "{}");
  write_text(scratch / "00007-notes.txt", "x");
  put(scratch / "00008-photos/a.png", "x");
  fs::create_directories(scratch / "2024-backup");
  EXPECT_MENTIONS(message_of([&] { latest_snapshot(scratch.path()); }), run.string());
  EXPECT_EQ(create_run_folder(scratch.path(), "y").filename(), "00001-y");
}

TEST(Run, KeepPrunesSnapshots) {
  const Scratch scratch;
  fs::create_directories(scratch / "run");
  for (const int64_t images : {1000, 12000, 9000}) write_text(snapshot_path(scratch / "run", images), "x");
  write_text(scratch / "run/snapshot-mine.safetensors", "x");
  publish(scratch / "run/snapshot-000012.safetensors", latest_path(scratch / "run"));
  prune_snapshots(scratch / "run", 1);
  EXPECT_FALSE(fs::exists(scratch / "run/snapshot-000001.safetensors"));
  EXPECT_FALSE(fs::exists(scratch / "run/snapshot-000009.safetensors"));
  for (const char* kept : {"snapshot-000012.safetensors", "snapshot-latest.safetensors", "snapshot-mine.safetensors"})
    EXPECT_TRUE(fs::exists(scratch / "run" / kept)) << kept;
}

TEST(Run, FoldersAreNumberedAndTheNewestIsFound) {
  const Scratch scratch;
  const fs::path outdir = scratch / "runs", a = create_run_folder(outdir, "x"), b = create_run_folder(outdir, "y");
  EXPECT_EQ(a.filename(), "00000-x");
  EXPECT_EQ(b.filename(), "00001-y");
  EXPECT_MENTIONS(message_of([&] { latest_snapshot(outdir); }), "has no snapshot");
  write_text(a / "snapshot-latest.safetensors", "x");
  EXPECT_MENTIONS(message_of([&] { latest_snapshot(outdir); }), b.string());  // never an older run instead
  write_text(b / "snapshot-latest.safetensors", "x");
  EXPECT_EQ(latest_snapshot(outdir).parent_path(), b);
}

TEST(Run, StatsAreRewoundToTheSnapshot) {
  const Scratch scratch;
  write_text(scratch / "stats.jsonl",
             "{\"Progress/tick\":{\"mean\":0}}\n{\"Progress/tick\":{\"mean\":1}}\n{\"Progress/tick\":{\"mea");
  rewind_stats(scratch.path(), 1);
  EXPECT_EQ(read_text(scratch / "stats.jsonl"), "{\"Progress/tick\":{\"mean\":0}}\n");
}

TEST(Run, DivergingRunStopsAndKeepsTheLastGoodSnapshot) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  TinyRun good(o, scratch / "run");
  good.run();
  const auto saved = bytes_of(scratch / "run/snapshot-latest.safetensors");
  o.lr = 1e30;
  o.kimg = 1;
  o.keep = 1;
  TinyRun bad(o, scratch / "run", scratch / "run/snapshot-latest.safetensors");
  EXPECT_MENTIONS(message_of<Error>([&] { bad.run(); }), "diverged");
  EXPECT_LT(bad.state.counters.images, 200);
  EXPECT_EQ(bytes_of(scratch / "run/snapshot-latest.safetensors"), saved);
  EXPECT_EQ(bytes_of(scratch / "run/snapshot-000000_048.safetensors"), saved);
}

TEST(Run, FiniteButAbsurdLossesAreDivergenceAndStandInTheLog) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  o.lr = 10;
  o.kimg = 1;
  TinyRun run(o, scratch / "run");
  EXPECT_MENTIONS(message_of<Error>([&] { run.run(); }), "diverged");
  EXPECT_MENTIONS(read_text(scratch / "run/log.txt"), "error: the run diverged");
}

TEST(Run, BrokenImagesAreSkippedAndCounted) {
  const Scratch scratch;
  write_images(scratch / "data", 8);
  const std::vector<std::byte> png = read_bytes(scratch / "data/class0/0003.png");
  put(scratch / "data/class0/0003.png", std::span(png).first(png.size() / 2));
  TinyRun run(tiny_options(scratch / "data"), scratch / "run");
  EXPECT_EQ(run.run(), Outcome::finished);
  EXPECT_EQ(run.data->bad_images().size(), 1u);
}

TEST(Iteration, LazyPhasesKeepTheirIntervals) {
  const Scratch scratch;
  TinyRun run(tiny_options(write_images(scratch / "data", 8)), scratch / "run");
  run.iterate(7);
  const Stats stats = run.state.stats.read();
  EXPECT_EQ(stats.at("Loss/G/loss").finite, 7);
  EXPECT_EQ(stats.at("Loss/G/reg").finite, 4);  // 0 2 4 6
  EXPECT_EQ(stats.at("Loss/D/reg").finite, 3);  // 0 3 6
  EXPECT_EQ(run.state.role("G").adam->step_count(), 11);
  EXPECT_EQ(run.state.role("D").adam->step_count(), 10);
  EXPECT_EQ(run.state.counters.images, 28);
}

// It generates nothing: no latents, no labels, no cutoff of styles.
TEST(Iteration, DregDrawsNothing) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8, 8, 3, 2));
  o.cond = o.data.use_labels = true;
  model_of(o).c_dim = 2;
  const auto after_an_iteration = [&](int d_reg_interval) {
    loss_of(o).d_reg_interval = d_reg_interval;
    TinyRun run(o, scratch / "run");
    run.iterate(1);
    EXPECT_EQ(run.state.stats.read().contains("Loss/D/reg"), d_reg_interval == 1);
    const uint64_t offset = run.state.rng.offset;
    const Phase gmain = phases_of({.options = run.options, .state = run.state})[0];
    for (const auto& feed : gmain.feeds) feed->refresh(run.state.rng);
    const Inputs next = gmain.draw(run.state.rng);
    return std::tuple(offset, next["z"].to_doubles(), next["z_mix"].to_doubles());
  };
  EXPECT_EQ(after_an_iteration(1), after_an_iteration(0));
}

TEST(Iteration, GeneratedLabelsFollowTheData) {
  const Scratch scratch;
  write_images(scratch / "data", 4);
  std::string labels;  // of two classes, the data has the second only
  for (int i = 0; i < 4; ++i) labels += fmt::format("{}[\"class0/{:04}.png\", 1]", i ? ", " : "", i);
  write_text(scratch / "data/dataset.json", "{\"labels\": [" + labels + "]}");
  TrainOptions o = tiny_options(scratch / "data");
  o.cond = o.data.use_labels = true;
  model_of(o).c_dim = 2;
  TinyRun run(o, scratch / "run");
  run.iterate(2);
  const Parameters& targets = run.state.role("G").adam->targets();
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i].name() != "mapping.embed.weight") continue;
    const std::vector<double> squares = run.state.role("G").adam->second_moment(i).to_doubles();  // [out,2]
    for (size_t j = 0; j < squares.size(); j += 2) {
      EXPECT_EQ(squares[j], 0);
      EXPECT_GT(squares[j + 1], 0);
    }
    return;
  }
  FAIL() << "no label was embedded";
}

}  // namespace
}  // namespace firn
