#include <sys/stat.h>
#include <zip.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/image_source.h"
#include "io/zip_directory.h"

namespace firn {
namespace {

struct CloseArchive {
  void operator()(zip_t* z) const { zip_discard(z); }
};
struct CloseEntry {
  void operator()(zip_file_t* f) const { zip_fclose(f); }
};
using Archive = std::unique_ptr<zip_t, CloseArchive>;
using EntryReader = std::unique_ptr<zip_file_t, CloseEntry>;

// A message that goes on after "cannot read X ...: ".
[[noreturn]] void fail(zip_error_t* error, const std::string& what) {
  if (zip_error_code_zip(error) == ZIP_ER_MEMORY) throw std::bad_alloc();
  const std::string message = fmt::format("{}: {}", what, zip_error_strerror(error));
  if (zip_error_system_type(error) == ZIP_ET_SYS) throw SystemError(message);
  throw IoError(message);
}

// What tells that a file is still the same one.
struct Identity {
  dev_t device = 0;
  ino_t file = 0;
  off_t size = 0;
  timespec modified = {};

  static Identity of(const std::filesystem::path& path) {
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0)
      throw SystemError(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
    if (!S_ISREG(s.st_mode)) throw IoError(fmt::format("cannot read {}: not a regular file", path.string()));
    return {s.st_dev, s.st_ino, s.st_size, s.st_mtim};
  }
  bool same_file(const Identity& o) const { return device == o.device && file == o.file && size == o.size; }
  bool untouched(const Identity& o) const {
    return same_file(o) && modified.tv_sec == o.modified.tv_sec && modified.tv_nsec == o.modified.tv_nsec;
  }
};

// Empty when the entry can be read. Deflate shrinks at most 1032 times: a larger ratio is a lie or a bomb.
std::string problem_of(const zip_stat_t& entry, std::string_view name) {
  constexpr zip_uint64_t ratio = 1032, header = 1 << 10;
  if (entry.encryption_method != ZIP_EM_NONE) return "the zip entry is encrypted";
  if (!zip_compression_method_supported(entry.comp_method, 0))
    return fmt::format("the zip entry uses compression method {}, which this build cannot read", entry.comp_method);
  if (entry.size > zip_uint64_t(ImageSource::largest))
    return fmt::format("the zip entry claims {} bytes, more than the limit of {}", entry.size, ImageSource::largest);
  if (entry.size / ratio > entry.comp_size + header)
    return fmt::format("the zip entry claims to grow from {} to {} bytes", entry.comp_size, entry.size);
  if (leaves_its_root(name)) return "the zip entry has an unsafe name";
  return "";
}

// libzip handles are not thread-safe, so every reading thread borrows one of its own.
class ZipSource : public ImageSource {
 public:
  ZipSource(std::filesystem::path path, std::vector<std::byte> bytes, std::string where)
      : ImageSource(std::move(where)), path_(std::move(path)), bytes_(std::move(bytes)) {
    if (bytes_.empty()) identity_ = Identity::of(path_);
    Archive archive = open();
    const auto count = zip_uint64_t(zip_get_num_entries(archive.get(), 0));
    const std::vector<ZipExtent> extents = this->extents(count);
    const std::vector<bool> overlaps = overlapping(extents);
    struct Found {
      Entry entry;
      std::string stored;
      zip_uint64_t index;
    };
    std::vector<Found> found;
    for (zip_uint64_t i = 0; i < count; ++i) {
      zip_stat_t entry;
      if (zip_stat_index(archive.get(), i, ZIP_FL_ENC_GUESS, &entry) != 0 || !(entry.valid & ZIP_STAT_NAME)) continue;
      const std::string stored = entry.name, name = normalised(stored);
      const bool folder = stored.ends_with('/') || stored.ends_with('\\');
      if (folder && !name.empty() && system_path(name).empty()) folders_.push_back(name + "/");
      if (name.empty() || folder) continue;
      if (extents[i].packed != entry.comp_size) throw contradiction();
      found.push_back(
          {{name, overlaps[i] ? "the zip entry overlaps another one" : problem_of(entry, name), int64_t(entry.size)},
           stored,
           i});
    }
    // By stored names: runs that are resumed count on the order.
    std::ranges::stable_sort(found, {}, &Found::stored);
    std::set<std::string_view> names;
    for (Found& f : found)
      if (!names.insert(f.entry.name).second) f.entry.problem = "the zip holds this name twice";
    for (Found& f : found) {
      entries_.push_back(std::move(f.entry));
      index_.push_back(f.index);
    }
    give_back(std::move(archive));
  }

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    require_same_file();
    try {
      Archive archive = borrow();
      auto bytes = read_from(archive.get(), entry, limit);
      give_back(std::move(archive));
      return bytes;
    } catch (const SystemError&) {
      throw;
    } catch (const IoError&) {
      if (bytes_.empty() && !identity_.untouched(Identity::of(path_))) throw changed();
      throw;
    }
  }

 private:
  std::vector<std::byte> read_from(zip_t* archive, int64_t entry, int64_t limit) const {
    const std::string what = fmt::format("{} in {}", printable(entries_[size_t(entry)].name), where_);
    const auto broken = [&](const char* reason) { throw IoError(fmt::format("{}: {}", what, reason)); };
    zip_stat_t stat;
    const EntryReader reader(zip_fopen_index(archive, index_[size_t(entry)], 0));
    if (!reader || zip_stat_index(archive, index_[size_t(entry)], 0, &stat) != 0) fail(zip_get_error(archive), what);
    // The size was checked at open, but the file may have been replaced since.
    if (stat.size > zip_uint64_t(largest)) broken("the zip entry is larger than it was");
    std::vector<std::byte> bytes(size_t(std::min<zip_uint64_t>(stat.size, zip_uint64_t(limit))));
    for (size_t done = 0; done < bytes.size();) {
      const zip_int64_t n = zip_fread(reader.get(), bytes.data() + done, bytes.size() - done);
      if (n < 0) fail(zip_file_get_error(reader.get()), what);
      if (n == 0) broken("the zip entry is truncated");
      done += size_t(n);
    }
    // libzip compares the checksum when it meets the end, so a whole entry is read one byte past it.
    std::byte beyond;
    if (bytes.size() == stat.size)
      if (const auto n = zip_fread(reader.get(), &beyond, 1); n != 0) {
        if (n < 0 && zip_error_system_type(zip_file_get_error(reader.get())) == ZIP_ET_SYS)
          fail(zip_file_get_error(reader.get()), what);
        broken("damaged: its checksum or size is wrong");
      }
    return bytes;
  }

  Archive open() const {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = bytes_.empty() ? zip_source_file_create(path_.c_str(), 0, -1, &error)
                                          : zip_source_buffer_create(bytes_.data(), bytes_.size(), 0, &error);
    Archive archive(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
    const std::unique_ptr<zip_error_t, void (*)(zip_error_t*)> freed(&error, zip_error_fini);
    if (archive) return archive;
    if (source) zip_source_free(source);
    fail(&error, fmt::format("cannot read {} as a zip", where_));
  }

  std::vector<ZipExtent> extents(uint64_t count) const {
    std::ifstream file(path_, std::ios::binary);
    const uint64_t size = bytes_.empty() ? uint64_t(identity_.size) : bytes_.size();
    const auto read = [&](uint64_t offset, uint64_t n) {
      std::vector<std::byte> part(offset < size ? std::min(n, size - offset) : 0);
      if (!bytes_.empty()) {
        std::copy_n(bytes_.begin() + std::ptrdiff_t(offset), part.size(), part.begin());
      } else if (!part.empty()) {
        file.seekg(std::streamoff(offset));
        if (!file.read(reinterpret_cast<char*>(part.data()), std::streamsize(part.size())))
          throw SystemError(fmt::format("cannot read {}: {}", where_, std::strerror(errno)));
      }
      return part;
    };
    auto all = zip_extents(read, size, count);
    if (all.size() != count) throw contradiction();
    return all;
  }
  IoError contradiction() const {
    return IoError(fmt::format("cannot read {} as a zip: its directory contradicts itself", where_));
  }

  // Reading on in a file that was cut or replaced would skip one image after the other.
  void require_same_file() const {
    if (bytes_.empty() && !identity_.same_file(Identity::of(path_))) throw changed();
  }
  SystemError changed() const {
    return SystemError(fmt::format("{} was changed or replaced while it was in use", where_));
  }

  Archive borrow() const {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        Archive archive = std::move(idle_.back());
        idle_.pop_back();
        return archive;
      }
    }
    return open();
  }

  void give_back(Archive archive) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(archive));
  }

  std::filesystem::path path_;
  std::vector<std::byte> bytes_;
  Identity identity_;  // of path_, when it was opened
  std::vector<zip_uint64_t> index_;
  mutable std::mutex mutex_;
  mutable std::vector<Archive> idle_;
};

}  // namespace

std::unique_ptr<ImageSource> open_zip(const std::filesystem::path& path) {
  return std::make_unique<ZipSource>(path, std::vector<std::byte>{}, path.string());
}

std::unique_ptr<ImageSource> open_zip_bytes(std::vector<std::byte> zip, std::string name) {
  if (zip.empty()) throw IoError(fmt::format("cannot read {} as a zip: an empty file", name));
  return std::make_unique<ZipSource>(std::filesystem::path{}, std::move(zip), std::move(name));
}

}  // namespace firn
