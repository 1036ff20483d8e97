#include "io/weights.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    for (const auto& [name, tensor] : firn::parse_weights(bytes, "fuzz").tensors)
      if (int64_t(tensor.to_doubles().size()) != tensor.count()) __builtin_trap();
  });
}
