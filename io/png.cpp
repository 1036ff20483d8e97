// PNG through libpng. Chunks that change no pixel are skipped unread, colour profiles and gamma too: as elsewhere, a
// sample is what it is.
#include <png.h>
#include <zlib.h>

#include <bit>
#include <csetjmp>
#include <cstdlib>
#include <new>
#include <vector>

#include "base/error.h"
#include "io/exif.h"
#include "io/image_formats.h"

namespace firn {
namespace {

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr bool checks_sums = false;  // a fuzzer would never get past them
#else
constexpr bool checks_sums = true;
#endif

struct Chunk {
  uint32_t length = 0;
  Bytes body;  // type and data, as far as they are there
  Bytes sum;   // empty: the chunk is cut off

  bool is(Text type) const { return starts_with(body, type); }
  Bytes data() const { return body.subspan(4); }
  bool sound() const {
    const auto* start = reinterpret_cast<const Bytef*>(body.data());
    return !sum.empty() && (!checks_sums || crc32(0, start, uInt(body.size())) == big_endian(sum, 0));
  }
};

Chunk chunk_at(Bytes bytes, size_t position) {
  constexpr size_t frame = 12;  // length, type, checksum
  if (bytes.size() < position + frame) return {};
  const uint32_t length = big_endian(bytes, position);
  const Bytes rest = bytes.subspan(position + 4);
  if (length > rest.size() - 8) return {length, rest, {}};
  return {length, rest.first(length + 4), rest.subspan(length + 4, 4)};
}

struct Reader {
  Bytes rest;
  bool ended = false, out_of_memory = false;
  char message[128] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  int passes = 1;

  explicit Reader(Bytes bytes) : rest(bytes) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    if (png) info = png_create_info_struct(png);
    if (!info) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png, this, on_read);
    png_set_mem_fn(png, this, on_allocate, [](png_structp, png_voidp memory) { std::free(memory); });
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  static void on_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<Reader*>(png_get_error_ptr(png));
    std::strncpy(self.message, message, sizeof self.message - 1);
    png_longjmp(png, 1);
  }
  static png_voidp on_allocate(png_structp png, png_alloc_size_t size) {
    void* memory = std::malloc(size);
    if (!memory) static_cast<Reader*>(png_get_mem_ptr(png))->out_of_memory = true;
    return memory;
  }
  static void on_read(png_structp png, png_bytep to, size_t count) {
    auto& self = *static_cast<Reader*>(png_get_io_ptr(png));
    if (self.ended = count > self.rest.size(); self.ended) png_error(png, "the file ends");
    std::memcpy(to, self.rest.data(), count);
    self.rest = self.rest.subspan(count);
  }
};

// libpng leaves its functions by longjmp: no frame between may own anything.
bool start(Reader& r, const ImageInfo& stored, Samples samples) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_set_user_limits(r.png, png_uint_32(stored.width), png_uint_32(stored.height));
  png_set_keep_unknown_chunks(r.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  if (!checks_sums) png_set_crc_action(r.png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_read_info(r.png, r.info);
  png_set_expand(r.png);  // palettes, fewer than 8 bits, colour keys
  if (samples == Samples::bytes) png_set_strip_16(r.png);
  if (samples == Samples::whole && std::endian::native == std::endian::little) png_set_swap(r.png);
  if (stored.channels >= 3) png_set_gray_to_rgb(r.png);
  if (stored.channels == 4) png_set_add_alpha(r.png, 0xffff, PNG_FILLER_AFTER);  // where a broken key was left out
  if (stored.channels != 4) png_set_strip_alpha(r.png);
  r.passes = png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  return true;
}

bool read_row(Reader& r, uint8_t* row) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_read_row(r.png, row, nullptr);
  return true;
}

[[noreturn]] void reject_as_said(const Reader& r, Text name) {
  const Text message = r.message;
  if (r.out_of_memory) throw std::bad_alloc();
  if (r.ended) reject(name, "truncated PNG: pixels are missing");
  if (message.ends_with("CRC error") || message.ends_with("incorrect data check"))
    reject(name, "damaged PNG: a checksum is wrong");
  reject(name, fmt::format("broken PNG ({})", message));
}

}  // namespace

ImageInfo png_info(Bytes head, Text name) {
  constexpr size_t signature = 8, header_end = signature + 12 + 13;
  if (head.size() < header_end) reject(name, "truncated PNG: a part of the header is missing");
  const Chunk header = chunk_at(head, signature);
  if (!header.is("IHDR") || header.length != 13) reject(name, "broken PNG: it does not begin with its header");
  const Bytes data = header.data();
  const uint32_t width = big_endian(data, 0), height = big_endian(data, 4);
  const auto colour = int(data[9]);
  if (width > INT32_MAX || height > INT32_MAX) reject(name, "broken PNG: a negative size");
  ImageInfo info{.width = int(width), .height = int(height), .depth = data[8] == std::byte{16} ? 16 : 8};
  const bool has_alpha = colour == PNG_COLOR_TYPE_GRAY_ALPHA || colour == PNG_COLOR_TYPE_RGB_ALPHA;
  info.channels = has_alpha ? 4 : colour == PNG_COLOR_TYPE_GRAY ? 1 : 3;

  bool pixels = false;
  for (size_t position = header_end; position + 12 <= head.size();) {
    const Chunk chunk = chunk_at(head, position);
    pixels = pixels || chunk.is("IDAT");
    if (chunk.is("IEND")) break;
    if (chunk.is("tRNS") && chunk.sound() && !pixels) info.channels = 4;
    if (chunk.is("eXIf") && chunk.sound()) info.orientation = exif_orientation(chunk.data());
    position += 12 + size_t{chunk.length};
  }
  if (!pixels) reject(name, "truncated PNG: it ends before its pixels");
  return info;
}

void png_rows(Bytes bytes, Text name, const ImageInfo& stored, Samples samples, const TakeRow& take) {
  // Deflate shrinks at most 1032 times, and a pixel has at least one bit.
  if (int64_t{stored.width} * stored.height > int64_t(bytes.size()) * 1032 * 8)
    reject(name, fmt::format("the header claims {}x{} pixels, which {} bytes cannot hold", stored.width, stored.height,
                             bytes.size()));
  Reader reader(bytes);
  if (!start(reader, stored, samples)) reject_as_said(reader, name);
  const size_t row_bytes = png_get_rowbytes(reader.png, reader.info);
  if (row_bytes != size_t(stored.width) * size_t(stored.channels) * (samples == Samples::whole ? 2 : 1))
    reject(name, "broken PNG: its header contradicts its chunks");
  const size_t stride = reader.passes > 1 ? row_bytes : 0;  // interlaced: every pass adds to all rows
  std::vector<uint8_t> rows(stride ? stride * size_t(stored.height) : row_bytes);
  for (int pass = 1; pass <= reader.passes; ++pass)
    for (int y = 0; y < stored.height; ++y) {
      uint8_t* row = rows.data() + size_t(y) * stride;
      if (!read_row(reader, row)) reject_as_said(reader, name);
      if (pass == reader.passes) take(y, row);
    }
}

}  // namespace firn
