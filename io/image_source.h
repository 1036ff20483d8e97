// Named byte strings: the files below a folder, or the entries of a zip. Untrusted: an entry that is encrypted,
// oversized or suspiciously small for what it claims is listed with the reason why it cannot be read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/layout.h"

namespace firn {

class ImageSource {
 public:
  struct Entry {
    std::string name;     // relative to the root, normalised()
    std::string problem;  // empty: readable
    int64_t size = 0;     // bytes, not packed
  };

  virtual ~ImageSource() = default;
  const std::vector<Entry>& entries() const { return entries_; }        // sorted by the name that is stored
  const std::string& where() const { return where_; }                   // for messages
  const Counts& passed_over() const { return passed_over_; }            // what was met and is no entry, by kind
  const std::vector<std::string>& folders() const { return folders_; }  // met themselves, with a '/' behind the name

  // The first `limit` bytes of an entry, all by default. Thread-safe. IoError for an entry that cannot be read,
  // SystemError where that is not the entry's own fault.
  std::vector<std::byte> read(int64_t entry, int64_t limit = largest) const;

  static constexpr int64_t largest = int64_t{256} << 20;

 protected:
  explicit ImageSource(std::string where) : where_(std::move(where)) {}
  void sort_entries();
  virtual std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const = 0;

  std::string where_;
  std::vector<Entry> entries_;
  Counts passed_over_;
  std::vector<std::string> folders_;
};

std::unique_ptr<ImageSource> open_folder(const std::filesystem::path& path);
std::unique_ptr<ImageSource> open_zip(const std::filesystem::path& path);
std::unique_ptr<ImageSource> open_zip_bytes(std::vector<std::byte> zip, std::string name);
std::unique_ptr<ImageSource> open_source(const std::filesystem::path& path);  // whichever it is

}  // namespace firn
