#include "io/images.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return firn::read_or_refuse(data, size, [](std::span<const std::byte> bytes) {
    const auto info = firn::image_info(bytes, "fuzz");
    if (int64_t(info.width) * info.height > 1 << 18) return;  // slow, not wrong
    const auto image = firn::decode_image(bytes, "fuzz", {.white = info.depth == 16 && info.width % 2 ? 4095 : 0});
    if (image.width != info.width || image.height != info.height || image.channels != info.channels) __builtin_trap();
    if (firn::decode_image(bytes, "fuzz", {.white = info.depth == 16 && info.width % 2 ? 4095 : 0}) != image)
      __builtin_trap();  // the same every time
    firn::sample_peak(bytes, "fuzz");
    firn::to_channels(firn::center_crop_resize(image, 16, 8), 3);
  });
}
