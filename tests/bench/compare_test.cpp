// bench/compare_cpu.py with stand-ins for both programs: hours of the real ones must not be lost to it.
#include <nlohmann/json.hpp>

#include "tests/tools/tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

class CompareCpu : public testing::Test {
 protected:
  void SetUp() override {
    if (shell("command -v python3").code != 0) GTEST_SKIP() << "this machine has no python3";
    // An iteration is Gmain + Dmain and 2 ms of the others.
    stand_in("train_bench", "*bf16*) ms=20;; *) ms=40", R"("peak_mb": 100, "sol": 0.5, "sol_direct": 0.75)");
    stand_in("python", "*default*) ms=120;; *bf16*) ms=60;; *) ms=80",
             R"("peak_mb": 800, "memory_format": "contiguous", "fir": "boxes", "modulation": "improved",
                "compiled": true, "trials_ms": {}, "bf16_failed": {}, "torch": "9.9")");
  }
  void stand_in(const std::string& name, const std::string& ms, std::string rest) const {
    std::erase(rest, '\n');
    write_text(scratch_ / name,
               fmt::format("#!/bin/sh\necho \"{0} $*\" >> '{1}'\ncase \"$*\" in {2};; esac\ncat << END\n"
                           R"({{"batch": 4, "Gmain_ms": $ms, "Greg_ms": 4, "Dmain_ms": $ms, "Dreg_ms": 16, {3}}})"
                           "\nEND\n",
                           name, (scratch_ / "calls").string(), ms, rest));
    fs::permissions(scratch_ / name, fs::perms::owner_all);
  }
  Ran compare(const std::string& options) const {
    return shell(
        fmt::format("python3 '{0}/../bench/compare_cpu.py' --bench '{1}/train_bench' --python '{1}/python' "
                    "--out '{1}/out.json' {2}",
                    FIRN_TEST_DATA, scratch_.path().string(), options));
  }
  std::vector<std::string> calls() const {
    std::istringstream text(read_text(scratch_ / "calls"));
    std::vector<std::string> all;
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
  }
  Scratch scratch_;
};

TEST_F(CompareCpu, TakesTurnsWithWhatATrialChoseAndPrintsTheTableOfItsFile) {
  const Ran ran = compare("--sizes 8/64/4 --rounds 2 --threads 1");
  ASSERT_EQ(ran.code, 0) << ran.output;
  const std::string row =
      "| 8 / 64 / 4 | 1 | 82 / 42 | 162 / 122 / 242 | 1.98x / 2.9x | 2.95x / 5.76x | 0.50 / 0.50 | 100 / 100 | 800 / "
      "800 |";
  EXPECT_MENTIONS(ran.output, row);
  const auto all = calls();
  ASSERT_EQ(all.size(), 2u + 2 * 5);
  for (size_t i : {0, 1}) EXPECT_MENTIONS(all[i], "--modulation auto --compile auto");
  for (size_t i : {0, 5}) {
    EXPECT_TRUE(all[2 + i].starts_with("train_bench") && all[2 + i].ends_with("--type f32")) << all[2 + i];
    EXPECT_TRUE(all[3 + i].ends_with("--type bf16")) << all[3 + i];
    EXPECT_MENTIONS(all[4 + i], "--dtype fp32 --format contiguous --fir boxes --modulation improved --compile yes");
    EXPECT_MENTIONS(all[5 + i], "--dtype bf16 --format contiguous --fir boxes --modulation improved --compile yes");
    EXPECT_MENTIONS(all[6 + i], "--fir boxes --modulation default --compile no");
  }
  const Ran table = compare(fmt::format("--table '{}'", (scratch_ / "out.json").string()));
  EXPECT_MENTIONS(table.output, row);
  EXPECT_MENTIONS(table.output, "PyTorch 9.9");
  EXPECT_EQ(calls().size(), all.size());
}

TEST_F(CompareCpu, MasksBothProgramsAndSaysInALineWhichFailed) {
  stand_in("train_bench", "*) echo $ATEN_CPU_CAPABILITY $ONEDNN_MAX_CPU_ISA $FIRN_CPU_TARGET >&2; exit 1", "");
  const Ran ran = compare("--sizes 8/64/4 --isa avx2");
  EXPECT_EQ(ran.code, 1);
  EXPECT_MENTIONS(ran.output, "avx2 AVX2 avx2\ncannot go on: Command '");
  EXPECT_EQ(calls().size(), 2u);  // the trial of fp32, the only type there, and this
}

TEST_F(CompareCpu, SaysInALineWhatItCannotRead) {
  const Ran ran = compare("--sizes 3x3");
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "argument --sizes: invalid sizes value: '3x3'\n");
}

}  // namespace
}  // namespace firn
