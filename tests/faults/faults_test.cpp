// System calls and allocations that fail, one at a time (tests/faults): an error in one line, and the old snapshot or
// the new one whole.
#include "tests/tools/tools_support.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

std::string preloaded(const char* library) {
  return fmt::format(
      "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 "
      "LD_PRELOAD='{}/{}' ",
      FIRN_BINARY_DIR, library);
}

struct Fault {
  const char* call;
  const char* error;
  bool refused = true;  // the save cannot do without such a call
  const char* which = "";
};

std::string name_of(const testing::TestParamInfo<Fault>& info) {
  std::string name = fmt::format("{}_{}{}", info.param.call, info.param.error, info.param.which);
  std::ranges::replace(name, ' ', '_');
  return name;
}

struct OneSave : testing::TestWithParam<Fault> {};

TEST_P(OneSave, UnderAFaultLeavesTheOldSnapshotOrTheNewOneWhole) {
  const Fault& fault = GetParam();
#ifdef __SANITIZE_ADDRESS__
  if (fault.call == std::string_view("malloc")) GTEST_SKIP() << "AddressSanitizer has an allocator of its own";
#endif
  const Scratch scratch;
  const Ran ran =
      shell(fmt::format("{} '{}' '{}' {} {} {}", preloaded("libfirn_faults.so"), tool_path("firn_save_faults"),
                        scratch.path().string(), fault.call, fault.error, fault.which));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, " 0 wrong");
  EXPECT_EQ(ran.output.find(" 0 refused") == std::string::npos, fault.refused) << ran.output;
  EXPECT_EQ(ran.output.find(": 0 calls"), std::string::npos) << ran.output;
}

// The last two: each 7th allocation, and all from each 500th on.
INSTANTIATE_TEST_SUITE_P(Calls, OneSave,
                         testing::Values(Fault{"open", "EMFILE"}, Fault{"read", "EIO"}, Fault{"read", "EINTR", false},
                                         Fault{"read", "short", false}, Fault{"write", "ENOSPC"}, Fault{"write", "EIO"},
                                         Fault{"write", "EINTR", false}, Fault{"write", "short", false},
                                         Fault{"sync", "EIO"}, Fault{"sync", "EINTR", false}, Fault{"rename", "EIO"},
                                         Fault{"link", "EPERM", false}, Fault{"unlink", "EIO", false},
                                         Fault{"close", "EIO"}, Fault{"list", "EIO"},
                                         Fault{"malloc", "ENOMEM", true, "1 7"},
                                         Fault{"malloc", "ENOMEM", true, "1 500 onward"}),
                         name_of);

// Whether or not a worker may go on without the image: no other weights come of it without a word.
TEST(FaultyData, ACallThatFailsEndsTheRunOrChangesNothing) {
  const Scratch scratch;
  const fs::path runs = scratch / "runs", report = scratch / "report";
  write_images(scratch / "data", 2);
  const std::string command =
      fmt::format("'{}' {} --kimg 0.008 --workers 1", tool_path("gan-train"), tiny_train(scratch));
  ASSERT_EQ(shell(preloaded("libfirn_faults.so") + command).code, 0);
  const auto expected = read_bytes(latest_snapshot(runs));
  int ended = 0;
  for (const Fault& fault : {Fault{"open", "EMFILE"}, Fault{"read", "EIO"}, Fault{"list", "EIO"}, Fault{"stat", "EIO"}})
    for (int at = 1;; ++at) {
      fs::remove_all(runs);
      fs::remove(report);
      const Ran ran =
          shell(fmt::format("({} FIRN_FAULT_CALL={} FIRN_FAULT_ERROR={} FIRN_FAULT_AT={} FIRN_FAULT_UNDER='{}/data' "
                            "FIRN_FAULT_REPORT='{}' {} "
                            "2>&1 > /dev/null)",
                            preloaded("libfirn_faults.so"), fault.call, fault.error, at, scratch.path().string(),
                            report.string(), command));
      if (read_text(report).find("failed") == std::string::npos) break;
      if (ran.code == 0) {
        EXPECT_EQ(read_bytes(latest_snapshot(runs)), expected) << fault.call << " " << at;
        continue;
      }
      ++ended;
      EXPECT_EQ(ran.code, 1) << ran.output;
      EXPECT_EQ(ran.lines(), 1) << ran.output;
    }
  EXPECT_GT(ended, 5);
}

// The disk is full when a line of a metric is written: the lines before stay whole, and the run that goes on has all.
TEST(FaultyDisk, TearsNoLineOfAMetric) {
  const Scratch scratch;
  write_images(scratch / "data", 16);
  const std::string metrics = "--metrics fid20_full-pixels --run-name x";
  ASSERT_EQ(tool("gan-train", tiny_train(scratch, metrics)).code, 0);
  const fs::path run = latest_snapshot(scratch / "runs").parent_path();
  const auto expected = MetricLog(run).curves().at("fid20_full-pixels").points;
  ASSERT_EQ(expected.size(), 4u);
  fs::remove_all(run);
  for (const char* error : {"ENOSPC", "short"}) {
    const Ran ran = shell(fmt::format(
        "({} FIRN_FAULT_CALL=write FIRN_FAULT_ERROR={} FIRN_FAULT_AT=3 "
        "FIRN_FAULT_UNDER='{}/.metric-' '{}' {} 2>&1 > /dev/null)",
        preloaded("libfirn_faults.so"), error, run.string(), tool_path("gan-train"), tiny_train(scratch, metrics)));
    const auto points = MetricLog(run).curves().at("fid20_full-pixels").points;
    EXPECT_TRUE(MetricLog(run).remarks().empty());
    if (error == std::string_view("ENOSPC")) {
      EXPECT_EQ(ran.code, 1);
      EXPECT_EQ(ran.lines(), 1) << ran.output;
      EXPECT_MENTIONS(ran.output, "metric-fid20_full-pixels.jsonl: No space left on device");
      EXPECT_EQ(points.size(), 2u);
      const Ran resumed =
          tool("gan-train", fmt::format("--outdir '{}/runs' --resume latest --threads 1", scratch.path().string()));
      EXPECT_EQ(resumed.code, 0) << resumed.output;
    }
    EXPECT_EQ(MetricLog(run).curves().at("fid20_full-pixels").points, expected);
    fs::remove_all(run);
  }
}

}  // namespace
}  // namespace firn
