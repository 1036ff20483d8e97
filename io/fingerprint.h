// What tells one set of images from another, wherever it lies and whether in a folder or a zip: hashes over its items
// in order, names as seen from inside the folders around all. Each stands for itself, so that a difference can be
// named.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

struct Fingerprint {
  int64_t images = 0;  // 0: none was taken
  std::string names, sizes, labels, classes;
  bool operator==(const Fingerprint&) const = default;
};

class FingerprintMaker {
 public:
  void add(std::string_view name, int64_t bytes, int width, int height, int label);
  Fingerprint finish(const std::vector<std::string>& class_names) const;

 private:
  static constexpr uint64_t start = 0xcbf29ce484222325;  // of FNV-1a
  uint64_t names_ = start, sizes_ = start, labels_ = start;
  int64_t images_ = 0;
};

// "it has 40 images, not 36", "its images have other names", ...; empty: the same set.
std::vector<std::string> differences(const Fingerprint& before, const Fingerprint& now);

}  // namespace firn
