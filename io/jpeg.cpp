// JPEG through libjpeg, which only warns of much that goes wrong: what costs pixels is an error here, stray bytes are
// not.
#include <cstdio>

#include <jpeglib.h>

#include <jerror.h>

#include <csetjmp>
#include <new>
#include <vector>

#include "base/error.h"
#include "io/exif.h"
#include "io/image_formats.h"

namespace firn {
namespace {

constexpr int most_scans = 500;  // each goes over all pixels, however few its bytes

struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf out{};
  char message[JMSG_LENGTH_MAX] = "";

  explicit Reader(Bytes bytes) {
    jpeg.err = jpeg_std_error(&errors);
    errors.error_exit = [](j_common_ptr jpeg) { leave(jpeg, nullptr); };
    errors.emit_message = on_message;
    jpeg.client_data = this;
    source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source.bytes_in_buffer = bytes.size();
    source.init_source = source.term_source = [](j_decompress_ptr) {};
    source.fill_input_buffer = [](j_decompress_ptr jpeg) {
      leave(reinterpret_cast<j_common_ptr>(jpeg), "truncated JPEG: no end marker");
      return boolean(FALSE);
    };
    source.skip_input_data = [](j_decompress_ptr jpeg, long count) {
      if (count > 0 && size_t(count) > jpeg->src->bytes_in_buffer) jpeg->src->fill_input_buffer(jpeg);
      jpeg->src->next_input_byte += count;
      jpeg->src->bytes_in_buffer -= size_t(count);
    };
    source.resync_to_restart = jpeg_resync_to_restart;
    progress.progress_monitor = [](j_common_ptr jpeg) {
      if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > most_scans)
        leave(jpeg, "broken JPEG: more scans than any picture needs");
    };
  }
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[noreturn]] void fail(Text name) const {
    if (errors.msg_code == JERR_OUT_OF_MEMORY) throw std::bad_alloc();
    reject(name, message);
  }

  [[noreturn]] static void leave(j_common_ptr jpeg, const char* reason) {
    auto& self = *static_cast<Reader*>(jpeg->client_data);
    char text[JMSG_LENGTH_MAX];
    if (!reason) self.errors.format_message(jpeg, text);
    std::snprintf(self.message, sizeof self.message, reason ? "%s" : "broken JPEG (%.150s)", reason ? reason : text);
    std::longjmp(self.out, 1);
  }

  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
      case JWRN_ADOBE_XFORM:
      case JWRN_BOGUS_ICC:
      case JWRN_BOGUS_PROGRESSION:
      case JWRN_EXTRANEOUS_DATA:
      case JWRN_JFIF_MAJOR:
      case JWRN_NOT_SEQUENTIAL:
        return;
      case JWRN_HIT_MARKER:
        leave(jpeg, "truncated JPEG: pixels are missing");
      default:
        leave(jpeg, nullptr);
    }
  }
};

// libjpeg is left by longjmp: no frame between may own anything.
bool read_header(Reader& r) {
  if (setjmp(r.out)) return false;
  jpeg_create_decompress(&r.jpeg);
  r.jpeg.src = &r.source;
  r.jpeg.progress = &r.progress;
  jpeg_save_markers(&r.jpeg, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&r.jpeg, TRUE);
  return true;
}

bool start(Reader& r) {
  if (setjmp(r.out)) return false;
  r.jpeg.out_color_space = r.jpeg.num_components == 1 ? JCS_GRAYSCALE : r.jpeg.num_components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_start_decompress(&r.jpeg);
  return true;
}

bool read_row(Reader& r, JSAMPROW row) {
  if (setjmp(r.out)) return false;
  jpeg_read_scanlines(&r.jpeg, &row, 1);
  return true;
}

bool finish(Reader& r) {
  if (setjmp(r.out)) return false;
  jpeg_finish_decompress(&r.jpeg);
  return true;
}

ImageInfo info_of(Reader& r, Text name) {
  if (!read_header(r)) r.fail(name);
  const int components = r.jpeg.num_components;
  if (components != 1 && components != 3 && components != 4)
    reject(name, fmt::format("a JPEG of {} colours, of which nobody knows which they are", components));
  ImageInfo info{.width = int(r.jpeg.image_width), .height = int(r.jpeg.image_height)};
  info.channels = components == 1 ? 1 : 3;
  for (const jpeg_marker_struct* m = r.jpeg.marker_list; m; m = m->next) {
    const Bytes marker = std::as_bytes(std::span(m->data, m->data_length));
    if (!starts_with(marker, Text("Exif\0", 5))) continue;
    info.orientation = exif_orientation(marker);
    break;
  }
  return info;
}

// Inks are stored inverted, as Adobe began and everyone followed.
void rgb_from_cmyk(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) rgb[c] = uint8_t((cmyk[c] * cmyk[3] + 127) / 255);
}

}  // namespace

ImageInfo jpeg_info(Bytes head, Text name) {
  Reader reader(head);
  return info_of(reader, name);
}

void jpeg_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take) {
  Reader reader(bytes);
  info_of(reader, name);
  // A block of 64 pixels takes at least a bit; lopsided subsampling spares half of the blocks.
  if (int64_t{stored.width} * stored.height > int64_t(bytes.size()) * 8 * 128)
    reject(name, fmt::format("the header claims {}x{} pixels, which {} bytes cannot hold", stored.width, stored.height,
                             bytes.size()));
  if (!start(reader)) reader.fail(name);
  const bool inks = reader.jpeg.num_components == 4;
  std::vector<uint8_t> row(size_t(stored.width) * 4), rgb(inks ? row.size() : 0);
  for (int y = 0; y < stored.height; ++y) {
    if (!read_row(reader, row.data())) reader.fail(name);
    if (inks) rgb_from_cmyk(row.data(), stored.width, rgb.data());
    take(y, inks ? rgb.data() : row.data());
  }
  if (!finish(reader)) reader.fail(name);
}

}  // namespace firn
