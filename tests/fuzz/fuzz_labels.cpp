#include "io/labels.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    const auto labels = firn::parse_labels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
    for (const auto& [file, label] : labels.of)
      if (label < 0 || label >= int(labels.class_names.size()) || file.starts_with('/')) __builtin_trap();
    if (!labels.of.empty() && !labels.others.empty()) __builtin_trap();
  });
}
