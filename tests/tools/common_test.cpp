// What every tool promises: its exit code and one line, also where nobody listens or nothing can be allocated.
#include "tools/common.h"

#include <thread>

#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

constexpr const char* every_tool[] = {"gan-train", "gan-sample", "gan-data", "gan-check"};

TEST(Tools, SayTheirVersionLibrariesAndProcessor) {
  for (const char* name : every_tool) {
    const Ran ran = tool(name, "--version");
    EXPECT_EQ(ran.code, 0);
    for (const char* part : {name, "oneDNN", "zlib", "libzip", "fmt", "AVX2", "AMX", "g++"})
      EXPECT_MENTIONS(ran.output, part);
  }
}

TEST(Tools, NoOptionSwallowsTheNextOne) {
  for (const auto& [name, arguments, part] :
       {std::tuple{"gan-train", "--outdir x --run-name --mirror --data y", "--run-name needs a value"},
        {"gan-train", "--outdir x --data y --run-name -n", "--run-name needs a value"},
        {"gan-sample", "--snapshot x --title --grid", "--title needs a value"},
        {"gan-data", "inspect x --sheet --side 3", "--sheet needs a value"}}) {
    const Ran ran = tool(name, arguments);
    EXPECT_EQ(ran.code, 2) << arguments;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
  EXPECT_EQ(tool("gan-sample", "--snapshot /no/such --title=--grid --grid x.png").code, 1);
}

TEST(Tools, LeaveOurKernelsOutByNameOrAll) {
  for (const auto& [name, arguments] : {std::pair{"gan-train", "--outdir x --data y"},
                                        {"gan-sample", "--snapshot x --grid x.png"},
                                        {"gan-check", "--snapshot x --phase Gmain --inputs x --out x"},
                                        {"gan-check", "compare --snapshot x"}}) {
    const Ran wrong = tool(name, fmt::format("{} --no-own-kernels conv_down,cnov_up", arguments));
    EXPECT_EQ(wrong.code, 2) << wrong.output;
    EXPECT_EQ(wrong.lines(), 1) << wrong.output;
    EXPECT_MENTIONS(wrong.output,
                    "cnov_up: there are conv_down, modulated_conv, modulated_conv_sm90, modulated_conv_up");
    for (const char* right : {"--no-own-kernels", "--no-own-kernels=conv_down,modulated_conv"})
      EXPECT_EQ(tool(name, fmt::format("{} {} --device cpu", arguments, right)).output,
                tool(name, fmt::format("{} --device cpu", arguments)).output);
  }
}

// The exit code of a command whose output nobody takes.
int code_of(const std::string& name, const std::string& arguments) {
  const std::string command = fmt::format("'{}' {}", tool_path(name), arguments);
  return shell("(" + command + ")").code;
}

TEST(Tools, KeepTheirExitCodeWhereStderrIsClosedOrFull) {
  for (const char* name : every_tool)
    for (const char* where : {"2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"}) {
      EXPECT_EQ(code_of(name, std::string("--no-such-option ") + where), 2) << name << where;
    }
  EXPECT_EQ(code_of("gan-sample", "--snapshot /no/such --grid x.png 2>/dev/full"), 1);
  EXPECT_EQ(code_of("gan-data", "inspect /no/such 2>&-"), 1);
}

TEST(Tools, OutputThatNobodyTookIsAnError) {
  const Scratch scratch;
  write_images(scratch / "data", 2);
  for (const char* where : {">/dev/full", ">&-"})
    EXPECT_EQ(code_of("gan-data", fmt::format("inspect '{}' {}", (scratch / "data").string(), where)), 1) << where;
  EXPECT_EQ(code_of("gan-train", "--version >/dev/full"), 1);
}

TEST(Tools, ClosedDescriptorsNeverBecomeFilesAndARunGoesOnWithoutAConsole) {
  const Scratch scratch;
  write_images(scratch / "data", 16, 8, 3, 2);
  EXPECT_EQ(code_of("gan-train", tiny_train(scratch, "--kimg 0.008 <&- >&- 2>&-")), 0);
  const fs::path run = latest_snapshot(scratch / "runs").parent_path();
  EXPECT_TRUE(read_text(run / "log.txt").starts_with("data "));
  snapshot_options(read_safetensors(run / "snapshot-latest.safetensors"));

  const Ran full =
      shell(fmt::format("('{}' {})", tool_path("gan-train"), tiny_train(scratch, "--kimg 0.008 2>&1 >/dev/full")));
  EXPECT_EQ(full.code, 0);
  EXPECT_EQ(full.lines(), 1) << full.output;
  EXPECT_MENTIONS(full.output, "cannot write to the console: No space left on device");
  EXPECT_MENTIONS(read_text(latest_snapshot(scratch / "runs").parent_path() / "log.txt"), "done: ");
}

TEST(Tools, OutOfMemoryIsALine) {
  if (!runs_under_limits()) GTEST_SKIP() << "this build reserves more addresses than the limit allows";
  const Scratch scratch;
  write_images(scratch / "data", 16, 8, 3, 2);
  const Ran ran = shell(fmt::format("ulimit -v 260000; OMP_WAIT_POLICY=passive '{}' {}", tool_path("gan-train"),
                                    tiny_train(scratch, "--cbase 65536 --cmax 512 --kimg 0.008")));
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_MENTIONS(ran.output, "out of memory");
}

int forked(const auto& body) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    _exit(tools::guarded("test", std::function<int()>(body)));
  }
  return wait_for(child);
}

TEST(Tools, WhatAThreadThrowsEndsTheProcessWithItsCode) {
  EXPECT_EQ(forked([]() -> int {
              std::thread([] { throw std::bad_alloc(); }).join();
              return 0;
            }),
            1);
  EXPECT_EQ(forked([]() -> int { throw ConfigError("x"); }), 2);
  EXPECT_EQ(forked([]() -> int { throw 7; }), 1);
}

}  // namespace
}  // namespace firn
