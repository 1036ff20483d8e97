// Files that survive: whole-file writes are atomic (temporary name, fsync, rename), appends are checked, and every
// failure is an IoError with the path and the system's reason.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace firn {

// A file in the making beside `path`, where `make` puts it: renamed to `path` by commit(), or removed, also by
// remove_unfinished().
class TemporaryName {
 public:
  TemporaryName(const std::filesystem::path& path, const std::function<void(const std::filesystem::path&)>& make);
  ~TemporaryName();
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;

  const std::filesystem::path& name() const { return name_; }
  void commit();  // rename, fsync of the directory

 private:
  std::filesystem::path path_, name_;
};

// Removes the temporary files of all unfinished writes, and lets none be made or finished any more: for a process that
// ends at once.
void remove_unfinished();

// A file in the making: everything written to stream() appears under `path` at commit(), or nothing does.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // without commit(): removes the temporary file

  std::ostream& stream();  // throws IoError at the first failed write
  void commit();           // flush, fsync, rename, fsync of the directory

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// `writer` streams the content; the stream throws IoError at the first failed write. Killed at any moment, the process
// leaves the old file or the new one, never a part (at worst a stray ".NAME.*.tmp" beside it).
void atomic_write(const std::filesystem::path& path, const std::function<void(std::ostream&)>& writer);
void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_text(const std::filesystem::path& path, std::string_view text);  // atomic

std::vector<std::byte> read_bytes(const std::filesystem::path& path, int64_t limit = int64_t{1} << 32);
std::vector<std::byte> read_head(const std::filesystem::path& path, int64_t count);  // fewer where the file is shorter
std::string read_text(const std::filesystem::path& path);
std::string sha256_of_file(const std::filesystem::path& path);

// After a rename in it: makes the names in a directory survive a power cut.
void sync_directory(const std::filesystem::path& path);
void make_directories(const std::filesystem::path& path);
// By name. On an error what was read before it. (libstdc++'s directory_iterator ends the process where memory is out.)
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& directory, std::error_code& error);

// Keeps other processes that ask for it out of a directory, for as long as this lives; IoError when one is in it, with
// its number and machine, which stand in a file .lock there meanwhile.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& path);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int fd_ = -1;
  std::filesystem::path note_;
};

// A log that only grows. Each write is one system call, so a killed run leaves at most one torn record.
class AppendFile {
 public:
  enum class Start { empty, append };
  AppendFile(const std::filesystem::path& path, Start start);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void write(std::string_view bytes);
  void sync();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace firn
