#include "io/dataset.h"
#include "io/image_source.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    const firn::Dataset set(firn::open_zip_bytes({bytes.begin(), bytes.end()}, "fuzz"),
                            {.path = {}, .resolution = 8, .resize = true});
    for (int64_t i = 0; i < set.size() && i < 4; ++i) try {
        set.load(i);
        if (set.label(i) >= set.num_classes()) __builtin_trap();
      } catch (const firn::Error&) {
      }
  });
}
