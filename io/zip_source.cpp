#include <zip.h>

#include <algorithm>
#include <mutex>

#include "io/files.h"
#include "io/image_source.h"
#include "kernels/error.h"

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

std::string take_message(zip_error_t& error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

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
  if (name.starts_with('/') || fmt::format("/{}/", name).find("/../") != std::string::npos)
    return "the zip entry has an unsafe name";
  return "";
}

// libzip handles are not thread-safe, so every reading thread borrows one of its own.
class ZipSource : public ImageSource {
 public:
  ZipSource(std::filesystem::path path, std::vector<std::byte> bytes, std::string where)
      : ImageSource(std::move(where)), path_(std::move(path)), bytes_(std::move(bytes)) {
    Archive archive = open();
    const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
    std::vector<std::pair<Entry, zip_uint64_t>> found;
    for (zip_uint64_t i = 0; i < zip_uint64_t(count); ++i) {
      zip_stat_t entry;
      if (zip_stat_index(archive.get(), i, ZIP_FL_ENC_GUESS, &entry) != 0 || !(entry.valid & ZIP_STAT_NAME)) continue;
      const std::string_view name = entry.name;
      if (!name.empty() && !name.ends_with('/'))
        found.push_back({{std::string(name), problem_of(entry, name), int64_t(entry.size)}, i});
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first.name < b.first.name; });
    for (auto& [entry, index] : found) {
      if (!entries_.empty() && entries_.back().name == entry.name) entry.problem = "the zip holds this name twice";
      entries_.push_back(std::move(entry));
      index_.push_back(index);
    }
    give_back(std::move(archive));
  }

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    Archive archive = borrow();
    auto bytes = read_from(archive.get(), entry, limit);
    give_back(std::move(archive));
    return bytes;
  }

 private:
  std::vector<std::byte> read_from(zip_t* archive, int64_t entry, int64_t limit) const {
    const auto fail = [&](const char* reason) {
      throw IoError(fmt::format("{} in {}: {}", printable(entries_[size_t(entry)].name), where_, reason));
    };
    zip_stat_t stat;
    const EntryReader reader(zip_fopen_index(archive, index_[size_t(entry)], 0));
    if (!reader || zip_stat_index(archive, index_[size_t(entry)], 0, &stat) != 0) fail(zip_strerror(archive));
    // The size was checked at open, but the file may have been replaced since.
    if (stat.size > zip_uint64_t(largest)) fail("the zip changed while it was in use");
    std::vector<std::byte> bytes(size_t(std::min<zip_uint64_t>(stat.size, zip_uint64_t(limit))));
    for (size_t done = 0; done < bytes.size();) {
      const zip_int64_t n = zip_fread(reader.get(), bytes.data() + done, bytes.size() - done);
      if (n < 0) fail(zip_file_strerror(reader.get()));
      if (n == 0) fail("the zip entry is truncated");
      done += size_t(n);
    }
    // libzip compares the checksum when it meets the end, so a whole entry is read one byte past it.
    std::byte beyond;
    if (bytes.size() == stat.size && zip_fread(reader.get(), &beyond, 1) != 0)
      fail("damaged: its checksum or size is wrong");
    return bytes;
  }

  Archive open() const {
    int code = 0;
    zip_error_t error;
    if (bytes_.empty()) {
      Archive archive(zip_open(path_.c_str(), ZIP_RDONLY, &code));
      zip_error_init_with_code(&error, code);
      if (!archive) throw IoError(fmt::format("cannot read {} as a zip: {}", where_, take_message(error)));
      return archive;
    }
    zip_error_init(&error);
    zip_source_t* source = zip_source_buffer_create(bytes_.data(), bytes_.size(), 0, &error);
    Archive archive(source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr);
    if (archive) return archive;
    if (source) zip_source_free(source);
    throw IoError(fmt::format("cannot read {} as a zip: {}", where_, take_message(error)));
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
