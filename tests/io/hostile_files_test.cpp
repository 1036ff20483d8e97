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
    EXPECT_LT(grown, 32 << 10) << file;
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

// Small files that would like to become large, or to be walked without an end.
TEST(HostileFiles, WhatIsRepeatedCostsNoMoreThanItsBytes) {
  const auto little = [](uint32_t v) { return std::string(reinterpret_cast<const char*>(&v), 4); };
  const auto text = [&](std::string_view t) { return "X" + little(uint32_t(t.size())) + std::string(t); };
  const auto times = [](int n, std::string_view part) {
    std::string all;
    for (int i = 0; i < n; ++i) all += part;
    return all;
  };
  const auto get = [](int place) { return "h" + std::string(1, char(place)); };
  const auto put_at = [](int place) { return "q" + std::string(1, char(place)); };
  const std::string head = "\x80\x04", network = "cdnnlib.tflib.network\nNetwork\n)\x81}" + text("components") + "}";
  std::string doubling = network + "sb" + put_at(0) + "0";  // each holds the one before twice
  for (int i = 0; i < 40; ++i)
    doubling += network + text("a") + get(i) + "s" + text("b") + get(i) + "ssb" + put_at(i + 1) + "0";
  const std::pair<std::string, const char*> cases[] = {
      {text("training." + std::string(60'000, 'x')) + put_at(0) + times(20'000, get(0) + get(0) + "\x93"),
       "a name of more than"},
      {text(std::string(16'000, 'x')) + put_at(0) + "}" + text("G") + "](" + times(90'000, get(0)) + "es",
       "bytes of names and texts"},
      {"}" + text(std::string(400, 'x')) + "}" + text(std::string(400, 'x')) + "}ss", "a name of more than"},
      {"(" + doubling + get(40) + "t", "names"},
      {"}(" + times(3'000, "K\1N") + "u" + put_at(0) + "(" + times(90'000, get(0)) + "l", "more than"},
      {times(1'500'000, "("), "marks"},
      {"N" + times(1'500'000, "2"), "stack"}};
  for (const auto& [body, part] : cases) {
    const std::string file = head + body + ".";
    std::string message;
    const int64_t grown =
        grown_kilobytes([&] { message = message_of([&] { parse_weights(std::as_bytes(std::span(file)), "x"); }); });
    EXPECT_MENTIONS(message, part);
    EXPECT_LT(grown, 64 << 10) << part;
  }
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
