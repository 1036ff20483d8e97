// Power cuts, replayed from what a run wrote (tests/faults): without what was not synced, at every moment.
#include "tests/faults/power_cut.h"
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct PowerCut : testing::Test {
  Scratch scratch;
  fs::path root = scratch / "disk";

  std::vector<faults::Operation> record(const std::string& command) {
    const Ran ran = shell(fmt::format(
        "ASAN_OPTIONS=verify_asan_link_order=0 GOMP_SPINCOUNT=0 FIRN_RECORD='{0}/record' FIRN_RECORD_UNDER='{1}' "
        "LD_PRELOAD='{2}/libfirn_record.so' '{2}/gan-train' {3}",
        scratch.path().string(), root.string(), FIRN_BINARY_DIR, command));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return faults::read_operations(scratch / "record");
  }
  std::vector<faults::Operation> record_run() {
    write_images(scratch / "data", 8);
    fs::create_directories(root);
    return record(fmt::format("{} --kimg 0.064 --outdir '{}/runs' --keep 1", tiny_train(scratch), root.string()));
  }
};

TEST_F(PowerCut, ARecordReplaysToTheFolderItself) {
  const auto operations = record_run();
  faults::Disk disk(root);
  for (const auto& o : operations) disk.apply(o);
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const auto found = disk.names().find(entry.path());
    ASSERT_NE(found, disk.names().end()) << entry.path();
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_EQ(found->second->now, read_text(entry.path())) << entry.path();
  }
  EXPECT_GT(files, 8u);
  EXPECT_EQ(size_t(std::ranges::count_if(disk.names(), [](const auto& name) { return name.second != nullptr; })),
            files);
}

TEST_F(PowerCut, LeavesEverySnapshotWholeAndWhatWasAnnounced) {
  const auto operations = record_run();
  const faults::Verdict verdict = faults::judge(operations, root);
  EXPECT_EQ(verdict.wrong, 0) << verdict.first;
  EXPECT_GT(verdict.outcomes, 500);
  for (const char* kind : {"sync", "sync-directory"}) {  // without them it does harm
    auto fewer = operations;
    std::erase_if(fewer, [&](const auto& o) { return o.kind == kind; });
    EXPECT_GT(faults::judge(fewer, root).wrong, 0) << kind;
  }
}

}  // namespace
}  // namespace firn
