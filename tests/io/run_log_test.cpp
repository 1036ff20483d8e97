#include "io/run_log.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/io/io_support.h"

namespace firn {
namespace {

// Bit by bit, unlike the table of the writer.
uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (char b : bytes) {
    crc ^= uint8_t(b);
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
  }
  return ~crc;
}

uint32_t masked(std::string_view bytes) {
  const uint32_t crc = slow_crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

template <class T>
T number(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::vector<std::string> records(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<std::string> all;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const auto length = number<uint64_t>(rest, 0);
    EXPECT_EQ(number<uint32_t>(rest, 8), masked(rest.substr(0, 8)));
    EXPECT_EQ(number<uint32_t>(rest, 12 + length), masked(rest.substr(12, length)));
    all.emplace_back(rest.substr(12, length));
    at += 16 + length;
  }
  return all;
}

TEST(EventFile, ChecksumIsCastagnoli) { EXPECT_EQ(slow_crc32c("123456789"), 0xe3069283u); }

TEST(EventFile, RecordsAreFramedAndDecode) {
  Scratch dir;
  EventFile events(dir.path());
  events.scalar("Loss/G/loss", 0.5f, 300);
  events.image("fakes", pattern(3, 2, 3), 300);
  const auto all = records(events.path());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_MENTIONS(all[0], "brain.Event:2");
  // After 9 bytes of wall time: step 300, then a summary of 20 bytes, one value of 18, its tag and float.
  EXPECT_EQ(all[1].substr(9), std::string("\x10\xac\x02\x2a\x14\x0a\x12\x0a\x0bLoss/G/loss\x15\x00\x00\x00\x3f", 25));
  EXPECT_MENTIONS(all[2], "fakes");
  EXPECT_MENTIONS(all[2], "\x89PNG");
  EXPECT_TRUE(events.path().filename().string().starts_with("events.out.tfevents."));
}

TEST(EventFile, RestartIsASessionStartAtItsStep) {
  Scratch dir;
  EventFile events(dir.path());
  events.restart(301);
  const auto all = records(events.path());
  ASSERT_EQ(all.size(), 2u);
  // After wall time: step 301, then field 7, a session log of 2 bytes whose status is 1, START.
  EXPECT_EQ(all[1].substr(9), std::string("\x10\xad\x02\x3a\x02\x08\x01", 7));
}

TEST(RunLog, LinesAppearAtOnce) {
  Scratch dir;
  RunLog log(dir / "00000-run", AppendFile::Start::empty);
  log.text("tick 0");
  log.stats({{"kimg", 1}, {"loss", std::nan("")}});
  EXPECT_EQ(read_text(dir / "00000-run/log.txt"), "tick 0\n");
  EXPECT_EQ(read_text(dir / "00000-run/stats.jsonl"), "{\"kimg\":1,\"loss\":null}\n");
  log.flush();
}

TEST(RunLog, ResumeAppendsAfterCuttingATornLine) {
  Scratch dir;
  { RunLog(dir.path(), AppendFile::Start::empty).stats({{"kimg", 1}}); }
  put(dir / "stats.jsonl", "{\"kimg\":1}\n{\"kim");
  { RunLog(dir.path(), AppendFile::Start::append).stats({{"kimg", 2}}); }
  EXPECT_EQ(read_text(dir / "stats.jsonl"), "{\"kimg\":1}\n{\"kimg\":2}\n");
  { RunLog(dir.path(), AppendFile::Start::empty); }
  EXPECT_EQ(read_text(dir / "stats.jsonl"), "");
}

TEST(RunLog, UnwritableDirectoryAndFullDiskAreErrors) {
  EXPECT_MENTIONS(message_of([] { RunLog("/proc/firn-run", AppendFile::Start::empty); }), "/proc/firn-run");
  AppendFile full("/dev/full", AppendFile::Start::append);
  EXPECT_EQ(message_of([&] { full.write("x"); }), "cannot write /dev/full: No space left on device");
}

}  // namespace
}  // namespace firn
