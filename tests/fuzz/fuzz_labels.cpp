#include "io/dataset_index.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    const auto labels = firn::parse_labels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
    for (const auto& [file, label] : labels.of)
      if (label < 0 || label >= int(labels.class_names.size())) __builtin_trap();
  });
}
