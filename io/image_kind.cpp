#include "io/image_kind.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "io/layout.h"

namespace firn {
namespace {

using Text = std::string_view;

struct Kind {
  ImageKind kind;
  Text name;
  std::array<Text, 6> extensions;  // the first is the usual one
};

constexpr Kind kinds[] = {
    {ImageKind::png, "PNG", {"png", "apng"}},
    {ImageKind::jpeg, "JPEG", {"jpg", "jpeg", "jfif", "jpe", "jif", "mpo"}},
    {ImageKind::bmp, "BMP", {"bmp", "dib"}},
    {ImageKind::webp, "WebP", {"webp"}},
    {ImageKind::gif, "GIF", {"gif"}},
    {ImageKind::tiff, "TIFF", {"tif", "tiff", "dng", "nef", "cr2", "arw"}},
    {ImageKind::heic, "HEIC", {"heic", "heif", "hif"}},
    {ImageKind::avif, "AVIF", {"avif", "avifs"}},
    {ImageKind::jpeg_xl, "JPEG XL", {"jxl"}},
    {ImageKind::jpeg_2000, "JPEG 2000", {"jp2", "j2k", "jpx", "jpf", "j2c"}},
    {ImageKind::psd, "Photoshop", {"psd", "psb"}},
    {ImageKind::exr, "OpenEXR", {"exr"}},
    {ImageKind::pnm, "PNM", {"ppm", "pgm", "pbm", "pnm", "pam"}},
    {ImageKind::svg, "SVG", {"svg"}},
};

const Kind* entry_of(ImageKind kind) {
  const auto* found = std::find_if(std::begin(kinds), std::end(kinds), [&](const Kind& k) { return k.kind == kind; });
  return found == std::end(kinds) ? nullptr : found;
}

// HEIC, AVIF and their relatives are one container: the brands in its first box tell them apart.
ImageKind kind_of_brands(Text brands) {
  if (brands.starts_with("jxl ")) return ImageKind::jpeg_xl;
  if (brands.starts_with("jp2 ")) return ImageKind::jpeg_2000;
  bool heic = false;
  for (; brands.size() >= 4; brands.remove_prefix(4)) {
    const Text brand = brands.substr(0, 4);
    if (brand == "avif" || brand == "avis") return ImageKind::avif;
    heic = heic || brand == "mif1" || brand == "msf1" || brand.starts_with("hei") || brand.starts_with("hev");
  }
  return heic ? ImageKind::heic : ImageKind::none;
}

// "BM" alone begins many a text: the size of the second header has to be one that exists.
bool is_bmp(Text head) {
  constexpr Text sizes = "\x0c\x28\x34\x38\x40\x6c\x7c";
  return head.starts_with("BM") && head.size() >= 18 && sizes.find(head[14]) != sizes.npos &&
         head.substr(15, 3) == Text("\0\0\0", 3);
}

bool is_pnm(Text head) {
  return head.size() >= 3 && head[0] == 'P' && head[1] >= '1' && head[1] <= '7' &&
         Text(" \t\n\r").find(head[2]) != Text::npos;
}

}  // namespace

ImageKind kind_of(std::span<const std::byte> bytes) {
  const Text head(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kind_bytes));
  const auto starts = [&](Text magic) { return head.starts_with(magic); };
  if (starts("\x89PNG\r\n\x1a\n")) return ImageKind::png;
  if (starts("\xff\xd8")) return ImageKind::jpeg;
  if (is_bmp(head)) return ImageKind::bmp;
  if (starts("RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP") return ImageKind::webp;
  if (starts("GIF87a") || starts("GIF89a")) return ImageKind::gif;
  if (starts(Text("II*\0", 4)) || starts(Text("MM\0*", 4)) || starts(Text("II+\0", 4)) || starts(Text("MM\0+", 4)))
    return ImageKind::tiff;
  if (head.size() >= 12 && head.substr(4, 4) == "ftyp") {
    const size_t box = std::min<size_t>(static_cast<unsigned char>(head[3]), head.size());
    return kind_of_brands(head.substr(8, box > 8 ? box - 8 : 4));
  }
  if (starts("\xff\x0a") || starts(Text("\0\0\0\x0cJXL ", 8))) return ImageKind::jpeg_xl;
  if (starts("\xff\x4f\xff\x51") || starts(Text("\0\0\0\x0cjP  ", 8))) return ImageKind::jpeg_2000;
  if (starts("8BPS")) return ImageKind::psd;
  if (starts("\x76\x2f\x31\x01")) return ImageKind::exr;
  if (is_pnm(head)) return ImageKind::pnm;
  if (starts("<svg") || (starts("<?xml") && head.find("<svg") != head.npos)) return ImageKind::svg;
  return ImageKind::none;
}

bool readable(ImageKind kind) {
  return kind == ImageKind::png || kind == ImageKind::jpeg || kind == ImageKind::bmp || kind == ImageKind::webp;
}

std::string_view name_of(ImageKind kind) {
  const Kind* entry = entry_of(kind);
  return entry ? entry->name : "no image";
}

std::string unreadable_reason(ImageKind kind, Text file_name) {
  if (kind == ImageKind::none) return "not a PNG, JPEG, WebP or BMP image";
  const Kind& entry = *entry_of(kind);
  const std::string extension = lower_case(extension_of(file_name));
  const bool honest = std::find(entry.extensions.begin(), entry.extensions.end(), extension) != entry.extensions.end();
  const bool vowel = Text("AEIO").find(entry.name[0]) != Text::npos || kind == ImageKind::svg;
  return fmt::format("{} {} image{}; convert it to PNG or JPEG", vowel ? "an" : "a", entry.name,
                     honest || extension.empty() ? "" : fmt::format(" (named .{})", printable(extension, 10)));
}

}  // namespace firn
