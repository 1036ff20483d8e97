// What tells one set of images from another, wherever it lies and whether in a folder or a zip: hashes over its items
// in order, names as seen from inside the folders around all. Each stands for itself, so that a difference can be
// named.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

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
  uint64_t names_ = empty_hash, sizes_ = empty_hash, labels_ = empty_hash;
  int64_t images_ = 0;
};

// "it has 40 images, not 36", "its images have other names", ...; empty: the same set.
std::vector<std::string> differences(const Fingerprint& before, const Fingerprint& now);

}  // namespace firn
