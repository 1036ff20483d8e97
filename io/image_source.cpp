#include "io/image_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

class FolderSource : public ImageSource {
 public:
  explicit FolderSource(const fs::path& root) : ImageSource(root.string()), root_(root) {
    std::error_code error;
    std::string last = where_;  // what may be unreadable
    for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
      last = it->path().string();
      if (const char* kind = passed_over(*it)) {
        ++passed_over_[kind];
        it.disable_recursion_pending();
      } else if (it->is_directory(error)) {
        folders_.push_back(it->path().lexically_relative(root).generic_string() + "/");
      } else {
        std::error_code gone;  // a file that is gone meanwhile is told when it is read
        const auto size = it->file_size(gone);
        if (gone && gone != std::errc::no_such_file_or_directory) error = gone;
        entries_.push_back({it->path().lexically_relative(root).generic_string(), "", gone ? 0 : int64_t(size)});
      }
      if (error) break;  // before increment() forgets it
    }
    if (error) throw SystemError(fmt::format("cannot read {}: {}", last, error.message()));
    sort_entries();
  }

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    const fs::path path = root_ / entries_[size_t(entry)].name;
    return limit < largest ? read_head(path, limit) : read_bytes(path, largest);
  }

 private:
  static const char* passed_over(const fs::directory_entry& e) {
    std::error_code error;
    const auto type = e.status(error).type();
    const bool folder = type == fs::file_type::directory;
    const auto kind = system_name(e.path().filename().string());
    if (folder && !kind.empty()) return kind == "system" ? "system folder" : "hidden folder";
    if (folder) return e.is_symlink() ? "link to a folder" : nullptr;
    if (type == fs::file_type::not_found || error == std::errc::too_many_symbolic_link_levels) return "broken link";
    if (type == fs::file_type::none)
      throw SystemError(fmt::format("cannot read {}: {}", e.path().string(), error.message()));
    return type == fs::file_type::regular ? nullptr : "special file";
  }

  fs::path root_;
};

}  // namespace

void ImageSource::sort_entries() {
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
}

std::vector<std::byte> ImageSource::read(int64_t entry, int64_t limit) const {
  const Entry& e = entries_.at(size_t(entry));
  if (!e.problem.empty()) throw IoError(fmt::format("{}: {}", printable(e.name), e.problem));
  return read_entry(entry, limit);
}

std::unique_ptr<ImageSource> open_folder(const fs::path& path) { return std::make_unique<FolderSource>(path); }

std::unique_ptr<ImageSource> open_source(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) throw IoError(fmt::format("cannot read {}: there is no such file or folder", path.string()));
  return fs::is_directory(status) ? open_folder(path) : open_zip(path);
}

}  // namespace firn
