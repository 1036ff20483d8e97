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
    walk(root);
    sort_entries();
  }

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    const fs::path path = root_ / entries_[size_t(entry)].name;
    return limit < largest ? read_head(path, limit) : read_bytes(path, largest);
  }

 private:
  void walk(const fs::path& folder) {
    std::error_code error, gone;
    for (const fs::path& path : entries_of(folder, error)) {
      const fs::file_type type = type_of(path);
      const std::string name = path.lexically_relative(root_).generic_string();
      if (const char* kind = passed_over(path, type)) {
        ++passed_over_[kind];
      } else if (type == fs::file_type::directory) {
        folders_.push_back(name + "/");
        walk(path);
      } else {  // a file that is gone meanwhile is told when it is read
        const auto size = fs::file_size(path, gone);
        if (gone && gone != std::errc::no_such_file_or_directory) cannot_read(path, gone);
        entries_.push_back({name, "", gone ? 0 : int64_t(size)});
      }
    }
    if (error) cannot_read(folder, error);
  }

  [[noreturn]] static void cannot_read(const fs::path& path, std::error_code error) {
    throw SystemError(fmt::format("cannot read {}: {}", path.string(), error.message()));
  }

  // Of what a link leads to; not_found where that is nothing.
  static fs::file_type type_of(const fs::path& path) {
    std::error_code error;
    const fs::file_type type = fs::status(path, error).type();
    if (error == std::errc::too_many_symbolic_link_levels) return fs::file_type::not_found;
    if (type == fs::file_type::none) cannot_read(path, error);
    return type;
  }

  static const char* passed_over(const fs::path& path, fs::file_type type) {
    if (type == fs::file_type::directory) {
      const auto kind = system_name(path.filename().string());
      return kind == "system" ? "system folder"
             : !kind.empty()  ? "hidden folder"
             : is_link(path)  ? "link to a folder"
                              : nullptr;
    }
    if (type == fs::file_type::not_found) return "broken link";
    return type == fs::file_type::regular ? nullptr : "special file";
  }

  static bool is_link(const fs::path& path) {
    std::error_code error;
    const bool link = fs::is_symlink(path, error);
    if (error) cannot_read(path, error);
    return link;
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
