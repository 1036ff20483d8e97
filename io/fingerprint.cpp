#include "io/fingerprint.h"

#include <fmt/format.h>

namespace firn {
namespace {

uint64_t mixed(uint64_t hash, std::string_view text) {
  return hash_of("\xff", hash_of(text, hash));  // no UTF-8 text holds this byte: where one ends counts, too
}

std::string hex(uint64_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace

void FingerprintMaker::add(std::string_view name, int64_t bytes, int width, int height, int label) {
  ++images_;
  names_ = mixed(names_, name);
  sizes_ = mixed(sizes_, fmt::format("{} {}x{}", bytes, width, height));
  labels_ = mixed(labels_, fmt::to_string(label));
}

Fingerprint FingerprintMaker::finish(const std::vector<std::string>& class_names) const {
  uint64_t classes = empty_hash;
  for (const std::string& name : class_names) classes = mixed(classes, name);
  return {images_, hex(names_), hex(sizes_), hex(labels_), hex(classes)};
}

std::vector<std::string> differences(const Fingerprint& before, const Fingerprint& now) {
  std::vector<std::string> found;
  if (before.images != now.images) found.push_back(fmt::format("it has {} images, not {}", now.images, before.images));
  if (before.classes != now.classes) found.push_back("its classes have other names");
  // Of another number of images all that follows differs anyhow.
  if (before.images == now.images) {
    if (before.names != now.names) found.push_back("its images have other names");
    if (before.sizes != now.sizes) found.push_back("its files have other sizes");
    if (before.labels != now.labels) found.push_back("its images have other labels");
  }
  return found;
}

}  // namespace firn
