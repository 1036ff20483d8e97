#include "io/idx.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    const auto array = firn::parse_idx(bytes, "fuzz");
    firn::idx_image(array, 0, 32);
  });
}
