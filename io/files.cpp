#include "io/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <ostream>
#include <set>
#include <streambuf>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const char* verb, const fs::path& path, int reason) {
  throw SystemError(fmt::format("cannot {} {}: {}", verb, path.string(), std::strerror(reason)));
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  int close() { return fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1)); }

 private:
  int fd_ = -1;
};

void write_all(int fd, const char* data, size_t size, const fs::path& path) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", path, errno);
    data += n;
    size -= size_t(n);
  }
}

// Some file systems cannot sync (EINVAL); that is no failure to write.
void sync_descriptor(int fd, const fs::path& path) {
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOTSUP) return;
    fail("write", path, errno);
  }
}

class FileBuffer : public std::streambuf {
 public:
  FileBuffer(int fd, const fs::path& path) : fd_(fd), path_(path), buffer_(1 << 16) { reset(); }
  void drain() {
    write(pbase(), size_t(pptr() - pbase()));
    reset();
  }

 protected:
  int_type overflow(int_type c) override {
    drain();
    return traits_type::eq_int_type(c, traits_type::eof()) ? traits_type::not_eof(c)
                                                           : sputc(traits_type::to_char_type(c));
  }
  std::streamsize xsputn(const char* data, std::streamsize size) override {
    if (size <= epptr() - pptr()) {
      std::copy_n(data, size, pptr());
      pbump(int(size));
    } else {
      drain();
      write(data, size_t(size));
    }
    return size;
  }
  int sync() override { return drain(), 0; }

 private:
  static constexpr size_t kAtOnce = 32 << 20;  // bytes: no wait for a slow disk is long (engine/communicator_mpi.cpp)
  void write(const char* data, size_t size) {
    while (size > 0) {
      const size_t n = std::min(size, kAtOnce - since_sync_);
      write_all(fd_, data, n, path_);
      data += n;
      size -= n;
      since_sync_ += n;
      if (since_sync_ < kAtOnce) continue;
      sync_descriptor(fd_, path_);
      since_sync_ = 0;
    }
  }
  void reset() { setp(buffer_.data(), buffer_.data() + buffer_.size()); }
  int fd_;
  size_t since_sync_ = 0;
  fs::path path_;
  std::vector<char> buffer_;
};

fs::path directory_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// Never destroyed: a thread that ends the process may come while main returns.
struct Unfinished {
  std::mutex mutex;
  std::set<fs::path> names;
  int count = 0;
};
Unfinished& unfinished() {
  static Unfinished& all = *new Unfinished;
  return all;
}

std::vector<std::byte> read_up_to(const fs::path& path, int64_t count, int64_t limit) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe would wait for a writer
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) fail("read", path, errno);
  if (S_ISDIR(info.st_mode)) fail("read", path, EISDIR);
  if (!S_ISREG(info.st_mode)) throw IoError(fmt::format("cannot read {}: not a regular file", path.string()));
  if (info.st_size > limit)
    throw IoError(
        fmt::format("cannot read {}: its {} bytes exceed the limit of {}", path.string(), info.st_size, limit));
  std::vector<std::byte> bytes(size_t(std::min<int64_t>(count, info.st_size)));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read", path, errno);
    if (n == 0) break;
    done += size_t(n);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace

TemporaryName::TemporaryName(const fs::path& path, const std::function<void(const fs::path&)>& make) : path_(path) {
  Unfinished& all = unfinished();
  const std::lock_guard lock(all.mutex);
  name_ = directory_of(path) / fmt::format(".{}.{}-{}.tmp", path.filename().string(), ::getpid(), all.count++);
  ::unlink(name_.c_str());  // of a process of the same number that was killed: maybe a link to a snapshot
  const auto place = all.names.insert(name_).first;
  try {
    make(name_);
  } catch (...) {
    all.names.erase(place);
    throw;
  }
}

TemporaryName::~TemporaryName() {
  const std::lock_guard lock(unfinished().mutex);
  if (unfinished().names.erase(name_) > 0) ::unlink(name_.c_str());
}

void TemporaryName::commit() {
  {
    const std::lock_guard lock(unfinished().mutex);
    if (::rename(name_.c_str(), path_.c_str()) != 0) fail("write", path_, errno);
    unfinished().names.erase(name_);
    ::unlink(name_.c_str());  // still there where both were links to one file
  }
  sync_directory(directory_of(path_));
}

void remove_unfinished() {
  unfinished().mutex.lock();  // for good
  for (const fs::path& name : unfinished().names) ::unlink(name.c_str());
}

struct AtomicFile::State {
  explicit State(fs::path to)
      : path(std::move(to)), temporary(path, [this](const fs::path& name) {
          file = Descriptor(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
          if (file.get() < 0) fail("write", path, errno);
        }) {}
  fs::path path;
  Descriptor file;
  TemporaryName temporary;
  FileBuffer buffer{file.get(), path};
  std::ostream stream{&buffer};
};

AtomicFile::AtomicFile(fs::path path) {
  std::error_code ignored;
  const auto existing = fs::status(path, ignored).type();
  // Renaming over /dev/null, or over a directory, is never what was meant.
  if (existing == fs::file_type::directory) fail("write", path, EISDIR);
  if (existing != fs::file_type::regular && existing != fs::file_type::not_found && existing != fs::file_type::none)
    throw IoError(fmt::format("cannot write {}: not a regular file", path.string()));
  state_ = std::make_unique<State>(std::move(path));
  state_->stream.exceptions(std::ios::badbit | std::ios::failbit);
}

AtomicFile::~AtomicFile() = default;

std::ostream& AtomicFile::stream() { return state_->stream; }

void AtomicFile::commit() {
  State& s = *state_;
  s.buffer.drain();
  sync_descriptor(s.file.get(), s.path);
  if (s.file.close() != 0) fail("write", s.path, errno);
  s.temporary.commit();
}

void sync_directory(const fs::path& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 && errno == EACCES) return;  // a folder that may be written to, but not read
  if (directory.get() < 0) fail("write", path, errno);
  sync_descriptor(directory.get(), path);
}

void atomic_write(const fs::path& path, const std::function<void(std::ostream&)>& writer) {
  AtomicFile file(path);
  writer(file.stream());
  file.commit();
}

void atomic_write(const fs::path& path, std::span<const std::byte> bytes) {
  atomic_write(path, [&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  });
}

void write_text(const fs::path& path, std::string_view text) { atomic_write(path, std::as_bytes(std::span(text))); }

std::vector<std::byte> read_bytes(const fs::path& path, int64_t limit) { return read_up_to(path, limit, limit); }

std::vector<std::byte> read_head(const fs::path& path, int64_t count) {
  return read_up_to(path, count, std::numeric_limits<int64_t>::max());
}

std::string read_text(const fs::path& path) {
  const auto bytes = read_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string sha256_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  Sha256 hash;
  std::vector<char> piece(1 << 20);
  while (in.read(piece.data(), std::streamsize(piece.size())) || in.gcount())
    hash.add(std::as_bytes(std::span(piece).first(size_t(in.gcount()))));
  if (in.bad()) fail("read", path, errno);
  return hash.hex();
}

void make_directories(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> made;
  for (fs::path p = path; !p.empty() && !fs::exists(p, error); p = p.parent_path()) made.push_back(p);
  fs::create_directories(path, error);
  if (error) throw IoError(fmt::format("cannot create directory {}: {}", path.string(), error.message()));
  for (const fs::path& p : made) sync_directory(directory_of(p));
}

std::vector<fs::path> entries_of(const fs::path& directory, std::error_code& error) {
  std::vector<fs::path> list;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  errno = open ? 0 : errno;
  for (const dirent* entry; open && (entry = ::readdir(open.get())); errno = 0)
    if (const std::string_view name = entry->d_name; name != "." && name != "..") list.push_back(directory / name);
  error.assign(errno, std::generic_category());
  std::ranges::sort(list);
  return list;
}

DirectoryLock::DirectoryLock(const fs::path& path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) fail("read", path, errno);
  const fs::path note = path / ".lock";
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {  // some file systems have no locks
    char host[256] = {};
    ::gethostname(host, sizeof host - 1);
    std::ofstream(note) << fmt::format("process {} on {}", ::getpid(), host);  // for people: it may fail
    note_ = note;
    return;
  }
  ::close(fd_);
  std::string holder;
  std::getline(std::ifstream(note), holder);
  throw IoError(fmt::format("{}: another process is using it{}", path.string(),
                            holder.empty() ? "" : fmt::format(" ({})", printable(holder, 300))));
}

DirectoryLock::~DirectoryLock() {
  std::error_code none;
  fs::remove(note_, none);
  ::close(fd_);
}

AppendFile::AppendFile(const fs::path& path, Start start) : path_(path) {
  const int mode = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (start == Start::empty ? O_TRUNC : 0);
  fd_ = ::open(path.c_str(), mode, 0666);
  if (fd_ < 0) fail("write", path_, errno);
}

AppendFile::~AppendFile() { ::close(fd_); }
void AppendFile::write(std::string_view bytes) { write_all(fd_, bytes.data(), bytes.size(), path_); }
void AppendFile::sync() { sync_descriptor(fd_, path_); }

}  // namespace firn
