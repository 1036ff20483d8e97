// The one place where stb is compiled. PNGs are deflated by zlib, which is faster and smaller than stb's own.
#include <zlib.h>

#include <climits>
#include <cstdlib>

#include "base/error.h"

namespace {

unsigned char* deflate_for_stb(unsigned char* data, int size, int* out_size, int level) {
  uLongf bound = compressBound(uLong(size));
  auto* out = static_cast<unsigned char*>(std::malloc(bound));  // stb frees it
  if (out == nullptr || compress2(out, &bound, data, uLong(size), level) != Z_OK || bound > INT_MAX) {
    std::free(out);
    return nullptr;
  }
  *out_size = int(bound);
  return out;
}

// An invariant that a hostile file breaks must end the decoding, not the process; its buffers leak.
void require(bool invariant) {
  if (!invariant) throw firn::IoError("broken image (an invariant of stb_image does not hold)");
}

}  // namespace

// Zeroed memory: what a broken file leaves out is black, the same every time.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(pointer, size) std::realloc(pointer, size)
#define STBI_FREE(pointer) std::free(pointer)
#define STBI_ASSERT(x) require(x)
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 16384
#include <stb/stb_image.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ZLIB_COMPRESS deflate_for_stb
#include <stb/stb_image_write.h>
