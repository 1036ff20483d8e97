// Stop requests: of the class in a process of its own, and of the tools from outside.
#include "tools/signals.h"

#include <chrono>
#include <ostream>

#include "tests/tools/tools_support.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

// How a child that runs `body` ends, as a shell would say it.
int status_of(const auto& body) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
    close(STDERR_FILENO);
    body();
    _exit(0);
  }
  return wait_for(child);
}

bool soon(const auto& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

TEST(StopRequest, EndsTheProcessByTheSignalAndRemovesWhatIsUnfinished) {
  const Scratch scratch;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EQ(status_of([&] {
                const tools::StopRequest stop("test");
                atomic_write(scratch / "a", [&](std::ostream& out) {
                  out << std::string(1 << 20, 'x') << std::flush;
                  if (scratch.count() != 1) _exit(1);
                  kill(getpid(), signal);
                  std::this_thread::sleep_for(std::chrono::seconds(10));
                });
              }),
              128 + signal);
    EXPECT_EQ(scratch.count(), 0u);
  }
}

TEST(StopRequest, NotesTheFirstAndEndsAtTheSecond) {
  EXPECT_EQ(status_of([] {
              tools::StopRequest stop("test");
              stop.note_first();
              kill(getpid(), SIGINT);
              if (!soon([&] { return stop.signal() == SIGINT; })) _exit(1);
              kill(getpid(), SIGTERM);
              std::this_thread::sleep_for(std::chrono::seconds(10));
            }),
            128 + SIGTERM);
}

TEST(StopRequest, HangingUpTwiceOrBesideAnotherRequestIsOne) {
  for (const auto& [first, then] : {std::pair{SIGHUP, SIGHUP}, {SIGHUP, SIGTERM}, {SIGTERM, SIGHUP}})
    EXPECT_EQ(status_of([&, first = first, then = then] {
                tools::StopRequest stop("test");
                stop.note_first();
                kill(getpid(), first);
                if (!soon([&] { return stop.signal() == first; })) _exit(1);
                kill(getpid(), then);
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
              }),
              0)
        << first << ", " << then;
}

TEST(StopRequest, IgnoredSignalsStayIgnoredAndTheOthersAreRestored) {
  EXPECT_EQ(status_of([] {
              ::signal(SIGHUP, SIG_IGN);
              {
                const tools::StopRequest stop("test");
                kill(getpid(), SIGHUP);
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                sigset_t mask;
                pthread_sigmask(SIG_SETMASK, nullptr, &mask);
                if (sigismember(&mask, SIGHUP) || !sigismember(&mask, SIGTERM)) _exit(1);
              }
              kill(getpid(), SIGINT);
              _exit(2);
            }),
            128 + SIGINT);
}

struct Stops : testing::Test {
  Scratch scratch;
  fs::path runs = scratch / "runs";
  void SetUp() override { write_images(scratch / "data", 16, 8, 3, 2); }
};

// An orderly stop at whatever moment of a run a signal comes, once there is a run folder; before, nothing is lost.
TEST_F(Stops, AnyMomentIsRightForAnyOfTheSignals) {
  int delay = 0;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGTERM}) {
    const pid_t child = start("gan-train", tiny_train(scratch, "--kimg 1000"));
    EXPECT_TRUE(signal == SIGHUP || soon([&] { return fs::exists(runs); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(delay += 15));
    kill(child, signal);
    EXPECT_EQ(wait_for(child), 128 + signal);
    if (!fs::exists(runs)) continue;
    for (const auto& run : fs::directory_iterator(runs)) {
      EXPECT_MENTIONS(read_text(run.path() / "log.txt"), "--resume latest");
      EXPECT_TRUE(fs::exists(run.path() / "snapshot-latest.safetensors"));
      for (const auto& entry : fs::directory_iterator(run.path())) EXPECT_NE(entry.path().extension(), ".tmp");
    }
    const std::string resume = fmt::format("--outdir '{}' --resume latest --kimg 0.01", runs.string());
    EXPECT_EQ(tool("gan-train", resume).code, 0);
    fs::remove_all(runs);
  }
}

// A stop in the middle of measuring loses nothing: what the run that goes on writes is what it would have been.
TEST_F(Stops, AnEvaluationIsMadeUpFor) {
  const std::string train = tiny_train(scratch, "--metrics fid2k_full-pixels --run-name x");
  ASSERT_EQ(tool("gan-train", train).code, 0);
  const fs::path run = runs / "00000-x";
  const auto expected = MetricLog(run).curves().at("fid2k_full-pixels").points;
  const std::vector<std::byte> end = read_bytes(latest_path(run));
  fs::remove_all(runs);
  const pid_t child = start("gan-train", train);
  ASSERT_TRUE(soon([&] { return !run_snapshots(run).empty(); }));
  kill(child, SIGTERM);  // it measures now, most likely
  EXPECT_EQ(wait_for(child), 128 + SIGTERM);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1", runs.string()));
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_EQ(MetricLog(run).curves().at("fid2k_full-pixels").points, expected);
  EXPECT_EQ(read_bytes(latest_path(run)), end);
}

TEST_F(Stops, RunsUnderNohupGoOn) {
  const pid_t child = start("gan-train", tiny_train(scratch, "--kimg 1000"), SIGHUP);
  ASSERT_TRUE(soon([&] { return fs::exists(runs / "00000-data-small-kimg1000-batch8/snapshot-latest.safetensors"); }));
  kill(child, SIGHUP);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0);
  kill(child, SIGTERM);
  EXPECT_EQ(wait_for(child), 128 + SIGTERM);
}

TEST_F(Stops, ConvertLeavesNothingBehind) {
  write_images(scratch / "many", 40, 32);
  fs::create_directories(scratch / "out");
  const auto in_the_making = [&] { return !fs::is_empty(scratch / "out"); };
  const pid_t child = start("gan-data", fmt::format("convert '{}' '{}' --resolution 1024 --resize",
                                                    (scratch / "many").string(), (scratch / "out/set.zip").string()));
  ASSERT_TRUE(soon(in_the_making));
  kill(child, SIGTERM);
  EXPECT_EQ(wait_for(child), 128 + SIGTERM);
  EXPECT_TRUE(fs::is_empty(scratch / "out"));
}

}  // namespace
}  // namespace firn
