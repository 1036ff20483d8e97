// tests/golden/hostile: files that are no weights but would like to be read.
#include <fstream>
#include <set>

#include "io/weights.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

namespace fs = std::filesystem;
const fs::path golden = fs::path(FIRN_TEST_DATA) / "golden";

std::vector<fs::path> files_in(const char* folder) {
  std::error_code error;
  return entries_of(golden / folder, error);
}

int64_t kilobytes(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(line.find(':') + 1));
  return -1;
}

// How much the process grew at most while this ran.
int64_t grown_kilobytes(const std::function<void()>& f) {
  std::ofstream("/proc/self/clear_refs") << "5";
  const int64_t before = kilobytes("VmRSS");
  f();
  return kilobytes("VmHWM") - before;
}

TEST(HostileFiles, EachIsRefusedInOneLineAndCostsLittleMemory) {
  const std::vector<fs::path> files = files_in("hostile");
  ASSERT_GT(files.size(), 40u);
  for (const fs::path& file : files) {
    std::string message;
    const int64_t grown = grown_kilobytes([&] { message = message_of([&] { read_weights(file); }); });
    EXPECT_TRUE(message.starts_with(file.string() + ": ")) << file << ": " << message;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    EXPECT_LT(message.size(), file.string().size() + 200) << message;
    EXPECT_LT(grown, 80 << 10) << file;
  }
  EXPECT_FALSE(fs::exists("firn-was-here"));
}

TEST(HostileFiles, WhatWouldBeRunIsNamed) {
  const auto refusal = [](const char* name) { return message_of([&] { read_weights(golden / "hostile" / name); }); };
  for (const char* name :
       {"system_protocol0.pkl", "system_instance.pkl", "system_object.pkl", "system_stack_global.pkl", "system.pt"})
    EXPECT_MENTIONS(refusal(name), "wants os.system, which weights do not need; nothing of it was run");
  EXPECT_MENTIONS(refusal("system_protocol2.pkl"), "wants posix.system");
  EXPECT_MENTIONS(refusal("eval.pkl"), "wants builtins.eval");
  EXPECT_MENTIONS(refusal("new_with_names.pkl"), "wants subprocess.Popen");
  EXPECT_MENTIONS(refusal("near_miss.pkl"), "wants torch._utils._rebuild_tensor_v3");
  EXPECT_MENTIONS(refusal("objects.npz"), "Python objects");
  EXPECT_MENTIONS(refusal("climbing.pt"), "unsafe name");
  EXPECT_MENTIONS(refusal("absolute.npz"), "unsafe name");
}

TEST(HostileFiles, HonestFilesAreRefusedWhereverTheyAreCutOff) {
  for (const fs::path& file : files_in("published")) {
    const std::vector<std::byte> whole = read_bytes(file);
    for (size_t percent = 0; percent < 100; ++percent) {
      const std::string message =
          message_of([&] { parse_weights(std::span(whole).first(whole.size() * percent / 100), "x"); });
      EXPECT_TRUE(message.starts_with("x: ")) << file << " " << percent << ": " << message;
      EXPECT_EQ(message.find('\n'), message.npos) << message;
    }
  }
}

// What was changed may still be weights, but never many more than they were.
TEST(HostileFiles, ChangedBytesAreRefusedOrRead) {
  int refused = 0;
  for (const fs::path& file : files_in("published")) {
    const std::vector<std::byte> whole = read_bytes(file);
    uint64_t state = 1;
    for (int i = 0; i < 200; ++i) {
      std::vector<std::byte> changed = whole;
      for (int k = 0; k < 3; ++k) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        changed[(state >> 20) % std::min<size_t>(changed.size(), 8192)] = std::byte(state >> 56);
      }
      try {
        for (const auto& [name, t] : parse_weights(changed, "x").tensors)
          EXPECT_LE(t.bytes.size(), 16 * whole.size()) << name;
      } catch (const IoError& e) {
        EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace firn
