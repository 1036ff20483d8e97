#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <ostream>

#include "tests/io/io_support.h"

namespace firn {
namespace {

// A disk that fills up after `bytes`, for the duration of `action`.
void with_file_size_limit(rlim_t bytes, auto&& action) {
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit limited{bytes, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  action();
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
}

TEST(Files, AtomicWriteReplacesTheWholeFile) {
  Scratch dir;
  write_text(dir / "a.txt", "a long first version");
  write_text(dir / "a.txt", "second");
  EXPECT_EQ(read_text(dir / "a.txt"), "second");
  EXPECT_EQ(dir.count(), 1u);
}

TEST(Files, FullDiskKeepsTheOldFileAndNamesTheReason) {
  Scratch dir;
  write_text(dir / "a.bin", "old");
  std::string message;
  with_file_size_limit(100'000,
                       [&] { message = message_of([&] { write_text(dir / "a.bin", std::string(1'000'000, 'x')); }); });
  EXPECT_EQ(message, fmt::format("cannot write {}: File too large", (dir / "a.bin").string()));
  EXPECT_EQ(read_text(dir / "a.bin"), "old");
  EXPECT_EQ(dir.count(), 1u) << "a temporary file was left";
}

TEST(Files, FullDiskIsNoticedByAFormattedStreamToo) {
  Scratch dir;
  std::string message;
  with_file_size_limit(100'000, [&] {
    message = message_of([&] {
      atomic_write(dir / "a", [](std::ostream& out) {
        for (int i = 0; i < 1'000'000; ++i) out << i << '\n';
      });
    });
  });
  EXPECT_MENTIONS(message, "File too large");
  EXPECT_EQ(dir.count(), 0u);
}

TEST(Files, WriterThatThrowsLeavesNothing) {
  Scratch dir;
  EXPECT_THROW(atomic_write(dir / "a", [](std::ostream&) { throw IoError("half way"); }), IoError);
  EXPECT_EQ(dir.count(), 0u);
}

TEST(Files, KilledWriterLeavesTheOldFile) {
  Scratch dir;
  write_text(dir / "a", "old");
  const pid_t child = fork();
  if (child == 0) {
    atomic_write(dir / "a", [](std::ostream& out) {
      out << std::string(1 << 20, 'x') << std::flush;
      ::kill(::getpid(), SIGKILL);
    });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_text(dir / "a"), "old");
}

TEST(Files, MissingDirectoryAndDevicesAreRefused) {
  Scratch dir;
  EXPECT_MENTIONS(message_of([&] { write_text(dir / "no/a", "x"); }), "No such file or directory");
  EXPECT_MENTIONS(message_of([&] { write_text("/dev/null", "x"); }), "not a regular file");
  EXPECT_MENTIONS(message_of([&] { write_text(dir.path(), "x"); }), "Is a directory");
  EXPECT_MENTIONS(message_of([&] { read_text(dir.path()); }), "Is a directory");
  EXPECT_MENTIONS(message_of([&] { read_text("/dev/zero"); }), "not a regular file");
  EXPECT_MENTIONS(message_of([&] { read_text(dir / "none"); }), "No such file or directory");
}

TEST(Files, UnwritableDirectoryIsNamed) {
  if (::geteuid() == 0) {
    // Root may write anywhere, except where no directory can be made at all.
    EXPECT_MENTIONS(message_of([] { write_text("/proc/firn/a", "x"); }), "cannot write /proc/firn/a");
    EXPECT_MENTIONS(message_of([] { make_directories("/proc/firn"); }), "cannot create directory /proc/firn");
    return;
  }
  Scratch dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_MENTIONS(message_of([&] { write_text(dir / "a", "x"); }), "Permission denied");
  EXPECT_MENTIONS(message_of([&] { make_directories(dir / "b"); }), "Permission denied");
  std::filesystem::permissions(dir.path(), std::filesystem::perms::owner_all);
}

TEST(Files, HeadIsShortWhereTheFileIs) {
  Scratch dir;
  write_text(dir / "a", "12345");
  EXPECT_EQ(read_head(dir / "a", 3).size(), 3u);
  EXPECT_EQ(read_head(dir / "a", 30).size(), 5u);
  EXPECT_MENTIONS(message_of([&] { read_bytes(dir / "a", 4); }), "exceed the limit of 4");
}

TEST(Files, AStrayOfTheSameNameIsNotWrittenThrough) {
  Scratch dir;
  write_text(dir / "a", "kept");
  std::string name;
  {
    TemporaryName next(dir / "a", [&](const auto& path) { name = path.filename().string(); });
  }
  const size_t dash = name.rfind('-');
  const int number = std::stoi(name.substr(dash + 1)) + 1;  // what the next writer will take
  std::filesystem::create_hard_link(dir / "a", dir / fmt::format("{}-{}.tmp", name.substr(0, dash), number));
  atomic_write(dir / "a", [&](std::ostream& out) {
    out << "new" << std::flush;
    EXPECT_EQ(read_text(dir / "a"), "kept");
  });
  EXPECT_EQ(read_text(dir / "a"), "new");
}

}  // namespace
}  // namespace firn
