// What a report of a fault should begin with.
#include <cstdio>

#include <dnnl.h>
#include <google/protobuf/stubs/common.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>
#include <zip.h>
#include <zlib.h>

#include <nlohmann/json.hpp>

#include "engine/device.h"
#include "kernels/core/cpu_target.h"
#include "tools/common.h"
#ifdef FIRN_CUDA
#include "kernels/choice/provider_cuda.h"
#include "kernels/device/device_info.h"
#include "kernels/device/memory.h"
#endif

namespace firn::tools {
namespace {

std::string cuda([[maybe_unused]] int gpu) {
#ifdef FIRN_CUDA
  const size_t cudnn = kernels::cudnn::version();
  std::string text = fmt::format("built with CUDA, cuDNN {}", cudnn);
  if (const Device device = gpu < kernels::cuda_device_count() ? Device::cuda(gpu) : Device::best(); device.is_cuda()) {
    const kernels::DeviceInfo info = kernels::device_info(device.stream());
    text += fmt::format("; {} {}, driver {}, runtime {}", info.name, info.architecture, info.driver, info.runtime);
  }
  return text;
#else
  return "built without CUDA";
#endif
}

std::string processor() {
  std::string text;
  for (const auto& [name, has] : {std::pair{"AVX2", __builtin_cpu_supports("avx2") != 0},
                                  {"AVX-512", __builtin_cpu_supports("avx512f") != 0},
                                  {"AVX-512 BF16", __builtin_cpu_supports("avx512bf16") != 0},
                                  {"AMX", kernels::has_amx()}})
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", has ? "" : "no ", name);
  return text;
}

}  // namespace

std::string version_text(const std::string& tool, int gpu) {
  const dnnl_version_t& onednn = *dnnl_version();
  constexpr int jpeg = LIBJPEG_TURBO_VERSION_NUMBER;
  const int webp = WebPGetDecoderVersion();
  return fmt::format(
      "{} {}\n"
      "build      {}, g++ {}\n"
      "libraries  oneDNN {}.{}.{}, zlib {}, libzip {}, protobuf {}.{}.{}, fmt {}.{}.{}, CLI11 {}, nlohmann-json "
      "{}.{}.{}\n"
      "pictures   libpng {}, libjpeg-turbo {}.{}.{}, libwebp {}.{}.{}\n"
      "GPU        {}\n"
      "processor  {}",
      tool, FIRN_VERSION, FIRN_BUILD, __VERSION__, onednn.major, onednn.minor, onednn.patch, zlibVersion(),
      zip_libzip_version(), GOOGLE_PROTOBUF_VERSION / 1000000, GOOGLE_PROTOBUF_VERSION / 1000 % 1000,
      GOOGLE_PROTOBUF_VERSION % 1000, FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100, CLI11_VERSION,
      NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH,
      png_get_libpng_ver(nullptr), jpeg / 1000000, jpeg / 1000 % 1000, jpeg % 1000, webp >> 16, webp >> 8 & 255,
      webp & 255, cuda(gpu), processor());
}

}  // namespace firn::tools
