#include <algorithm>
#include <cmath>
#include <future>

#include "io/exif.h"
#include "io/images.h"
#include "tests/io/image_files.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

std::string refusal(const FileBytes& bytes, std::string_view name = "a") {
  return message_of([&] { decode_image(bytes, name); });
}

FileBytes grey_3x2(const FileBytes& before) {
  return png_of({.width = 3, .height = 2, .before = before, .rows = bytes_of({0, 1, 2, 3, 0, 4, 5, 6})});
}

// Inserts bytes before the first (or last) two that are `marker`.
FileBytes with_bytes_before(FileBytes jpeg, int marker, std::string_view stray) {
  const std::byte wanted[] = {std::byte{0xff}, std::byte(marker)};
  const auto at = std::search(jpeg.begin(), jpeg.end(), std::begin(wanted), std::end(wanted));
  const auto more = bytes_of(stray);
  jpeg.insert(at, more.begin(), more.end());
  return jpeg;
}

TEST(Orientation, AllEightTurnThePixelsUpright) {
  const std::pair<int, std::vector<uint8_t>> upright[] = {
      {3, {1, 2, 3, 4, 5, 6}}, {3, {3, 2, 1, 6, 5, 4}}, {3, {6, 5, 4, 3, 2, 1}}, {3, {4, 5, 6, 1, 2, 3}},
      {2, {1, 4, 2, 5, 3, 6}}, {2, {4, 1, 5, 2, 6, 3}}, {2, {6, 3, 5, 2, 4, 1}}, {2, {3, 6, 2, 5, 1, 4}}};
  for (int o = 1; o <= 8; ++o) {
    const auto& [width, pixels] = upright[o - 1];
    for (const auto& exif : {exif_of(o), little_endian_exif_of(o)}) {
      const FileBytes png = grey_3x2(png_chunk("eXIf", exif));
      const Image image = decode_image(png, "a");
      EXPECT_EQ(image.width, width) << o;
      EXPECT_EQ(image.pixels, pixels) << o;
      const ImageInfo info = image_info(png, "a");
      EXPECT_EQ(std::tuple(info.width, info.height, info.orientation), std::tuple(width, 6 / width, o));
    }
  }
}

TEST(Orientation, IsReadFromJpegAndWebpToo) {
  FileBytes jpeg = small_jpeg();
  jpeg[2 + 69 + 6] = std::byte{8};  // 8 high, 16 wide
  const ImageInfo info = image_info(with_exif(jpeg, exif_of(6)), "a");
  EXPECT_EQ(std::tuple(info.width, info.height, info.orientation), std::tuple(8, 16, 6));
  EXPECT_EQ(decode_image(with_exif(jpeg, exif_of(6)), "a"), Image(8, 16, 1, 128));

  FileBytes webp = bytes_of("RIFF");
  append(webp, bytes_of({30 + 18 + 62 + 22 - 20, 0, 0, 0}));
  append(webp, bytes_of("WEBPVP8X"));
  append(webp, bytes_of({10, 0, 0, 0, 0x18, 0, 0, 0, 2, 0, 0, 1, 0, 0}));
  const FileBytes plain = small_webp();
  webp.insert(webp.end(), plain.begin() + 12, plain.end());
  const FileBytes without = webp;
  append(webp, bytes_of("EXIF"));
  append(webp, bytes_of({26, 0, 0, 0}));
  append(webp, exif_of(8));
  webp[4] = std::byte(webp.size() - 8);
  EXPECT_EQ(image_info(webp, "a").width, 2);
  const Image upright = decode_image(webp, "a");
  EXPECT_EQ(upright.at(0, 2)[0], 255);  // the red pixel, once at the top left
  EXPECT_EQ(upright.at(1, 2)[0], 10);
  EXPECT_MENTIONS(message_of([&] { image_info(std::span(webp).first(without.size()), "a"); }), "truncated WebP");
}

TEST(Orientation, HostileExifIsUpright) {
  const FileBytes whole = exif_of(6);
  EXPECT_EQ(exif_orientation(whole), 6);
  for (size_t n = 0; n < 20; ++n) EXPECT_EQ(exif_orientation(FileBytes(whole.data(), whole.data() + n)), 1);
  for (int value : {0, 9, 255}) EXPECT_EQ(exif_orientation(exif_of(value)), 1);
  const auto changed = [](size_t at, int value) {
    FileBytes exif = exif_of(6);
    exif[at] = std::byte(value);
    return exif_orientation(exif);
  };
  EXPECT_EQ(changed(4, 255), 1);  // the directory lies far outside
  EXPECT_EQ(changed(7, 25), 1);   // and at the very end
  EXPECT_EQ(changed(8, 255), 6);  // it claims more entries than there are
  EXPECT_EQ(changed(13, 4), 1);   // another type
  EXPECT_EQ(changed(0, 'X'), 1);
}

TEST(Png, ColourKeysAreAlpha) {
  const FileBytes grey = grey_3x2(png_chunk("tRNS", bytes_of({0, 5})));
  EXPECT_EQ(image_info(grey, "a").channels, 4);
  Image image = decode_image(grey, "a");
  EXPECT_EQ(image.at(1, 1)[3], 0);
  EXPECT_EQ(image.at(2, 1)[3], 255);
  EXPECT_EQ(*to_channels(image, 1).at(1, 1), 255);
  EXPECT_FALSE(opaque(image));

  const FileBytes rgb = png_of({.width = 2,
                                .height = 1,
                                .colour = 2,
                                .before = png_chunk("tRNS", bytes_of({0, 1, 0, 2, 0, 3})),
                                .rows = bytes_of({0, 1, 2, 3, 1, 2, 4})});
  EXPECT_EQ(decode_image(rgb, "a").pixels, (std::vector<uint8_t>{1, 2, 3, 0, 1, 2, 4, 255}));

  FileBytes palette = png_chunk("PLTE", bytes_of({9, 8, 7, 6, 5, 4}));
  append(palette, png_chunk("tRNS", bytes_of({77})));
  const FileBytes indexed =
      png_of({.width = 2, .height = 1, .colour = 3, .before = palette, .rows = bytes_of({0, 0, 1})});
  EXPECT_EQ(decode_image(indexed, "a").pixels, (std::vector<uint8_t>{9, 8, 7, 77, 6, 5, 4, 255}));
}

TEST(Png, KeyInADamagedChunkIsLeftOut) {
  FileBytes key = png_chunk("tRNS", bytes_of({0, 5}));
  key.back() ^= std::byte{1};
  EXPECT_EQ(decode_image(grey_3x2(key), "a").pixels, (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
}

TEST(Png, PaletteIndexOutsideThePaletteIsBlack) {
  const FileBytes png = png_of({.width = 4,
                                .height = 1,
                                .colour = 3,
                                .before = png_chunk("PLTE", bytes_of({9, 8, 7, 6, 5, 4})),
                                .rows = bytes_of({0, 0, 1, 2, 255})});
  for (int again = 0; again < 3; ++again)
    EXPECT_EQ(decode_image(png, "a").pixels, (std::vector<uint8_t>{9, 8, 7, 6, 5, 4, 0, 0, 0, 0, 0, 0}));
}

TEST(Bmp, PaletteIndexOutsideThePaletteIsBlack) {
  FileBytes bmp = bytes_of("BM");
  bmp.resize(14 + 40);
  bmp[10] = std::byte{14 + 40 + 4}, bmp[14] = std::byte{40}, bmp[18] = std::byte{4}, bmp[22] = std::byte{1};
  bmp[26] = std::byte{1}, bmp[28] = std::byte{8}, bmp[46] = std::byte{1};
  append(bmp, bytes_of({7, 8, 9, 0, 0, 1, 100, 255}));  // blue, green, red of the only colour; four pixels
  for (int again = 0; again < 3; ++again)
    EXPECT_EQ(decode_image(bmp, "a").pixels, (std::vector<uint8_t>{9, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(Bmp, TopRowMayComeFirst) {
  FileBytes bmp = small_bmp();
  bmp[22] = std::byte{0xfe}, bmp[23] = bmp[24] = bmp[25] = std::byte{0xff};  // -2 high
  const Image image = decode_image(bmp, "a");
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(image.at(0, 0)[0], 200);
  EXPECT_EQ(image.at(0, 1)[0], 0);
  bmp[30] = std::byte{1};
  EXPECT_MENTIONS(refusal(bmp), "a run-length encoded BMP");
}

TEST(Png, SixteenBitsTakeTheHighByteOrAreScaledToWhite) {
  const FileBytes png =
      png_of({.width = 3, .height = 1, .depth = 16, .rows = bytes_of({0, 0x0f, 0xff, 0x08, 0x00, 0x00, 0x10})});
  EXPECT_EQ(image_info(png, "a").depth, 16);
  EXPECT_EQ(sample_peak(png, "a"), 4095);
  EXPECT_EQ(decode_image(png, "a").pixels, (std::vector<uint8_t>{15, 8, 0}));
  EXPECT_EQ(decode_image(png, "a", {.white = 4095}).pixels, (std::vector<uint8_t>{255, 128, 1}));
  EXPECT_EQ(decode_image(png, "a", {.white = 2047}).pixels, (std::vector<uint8_t>{255, 255, 2}));
  const FileBytes with_alpha =
      png_of({.width = 1, .height = 1, .depth = 16, .colour = 4, .rows = bytes_of({0, 0x0f, 0xff, 0x80, 0x00})});
  EXPECT_EQ(sample_peak(with_alpha, "a"), 4095);
  EXPECT_EQ(decode_image(with_alpha, "a", {.white = 4095}).pixels, (std::vector<uint8_t>{255, 255, 255, 128}));
  EXPECT_EQ(sample_peak(encode_png(pattern(4, 4, 3)), "a"), 0);
}

TEST(Png, FewerBitsThanEightSpanTheWholeRange) {
  EXPECT_EQ(decode_image(png_of({.width = 4, .height = 1, .depth = 2, .rows = bytes_of({0, 0b00011011})}), "a").pixels,
            (std::vector<uint8_t>{0, 85, 170, 255}));
}

TEST(Png, MissingEndAndWhatFollowsItHarmNothing) {
  const Image image = pattern(20, 20, 3);
  FileBytes png = encode_png(image);
  for (int missing = 1; missing <= 12; ++missing) EXPECT_EQ(decode_image(without_end(png, missing), "a"), image);
  append(png, bytes_of("left over"));
  EXPECT_EQ(decode_image(png, "a"), image);
  EXPECT_MENTIONS(refusal(without_end(encode_png(image), 13)), "truncated PNG: pixels are missing");
}

TEST(Png, ChecksumsCountWhereTheChunkDoes) {
  FileBytes text = png_chunk("tEXt", bytes_of("a"));
  text.back() ^= std::byte{1};
  EXPECT_EQ(decode_image(grey_3x2(text), "a").pixels.size(), 6u);
  FileBytes png = grey_3x2({});
  png[png.size() - 13] ^= std::byte{1};  // of the pixels
  EXPECT_MENTIONS(refusal(png), "a checksum is wrong");
}

TEST(Jpeg, StrayBytesBetweenSegmentsHarmNothing) {
  for (int marker : {0xdb, 0xc0, 0xc4, 0xda, 0xd9})
    EXPECT_EQ(decode_image(with_bytes_before(small_jpeg(), marker, "stray"), "a"), Image(16, 16, 1, 128)) << marker;
  FileBytes jpeg = small_jpeg();
  append(jpeg, bytes_of("left over\xff\xd8"));
  EXPECT_EQ(decode_image(jpeg, "a"), Image(16, 16, 1, 128));
}

TEST(Jpeg, MissingPixelsAreNoticedBeforeAnEndMarkerToo) {
  FileBytes jpeg = small_jpeg(3);
  jpeg.erase(jpeg.end() - 3);
  EXPECT_EQ(refusal(jpeg), "a: truncated JPEG: pixels are missing");
}

TEST(Jpeg, InksBecomeColoursAsAdobeStoresThem) {
  EXPECT_EQ(decode_image(small_jpeg(4), "a"), Image(16, 16, 3, 64));  // 128 / 255 of 128 / 255
  EXPECT_EQ(image_info(small_jpeg(4), "a").channels, 3);
  EXPECT_MENTIONS(refusal(small_jpeg(2)), "a JPEG of 2 colours");
}

TEST(Jpeg, ClaimThatTheBytesCannotHoldIsRefused) {
  FileBytes jpeg = small_jpeg();
  jpeg[2 + 69 + 5] = jpeg[2 + 69 + 7] = std::byte{0x3f};
  EXPECT_MENTIONS(refusal(jpeg), "16144x16144 pixels, which");
}

TEST(Jpeg, ScansWithoutEndAreRefused) {
  FileBytes jpeg = without_end(small_jpeg(), 13);  // up to the only scan
  jpeg[2 + 69 + 1] = std::byte{0xc2};              // progressive
  for (int scan = 0; scan < 600; ++scan) append(jpeg, bytes_of({0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0, 0}));
  append(jpeg, bytes_of({0xff, 0xd9}));
  EXPECT_MENTIONS(refusal(jpeg), "more scans than any picture needs");
}

TEST(Webp, IsReadWithItsAlpha) {
  EXPECT_EQ(image_info(small_webp(), "a").channels, 4);
  const Image image = decode_image(small_webp(), "a");
  EXPECT_EQ(std::tuple(image.width, image.height), std::tuple(3, 2));
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{255, 0,  0,  255, 0,  255, 0,  255, 0, 0, 255, 255,  //
                                                10,  20, 30, 255, 40, 50,  60, 128, 0, 0, 0,   0}));
  const Image lossy = decode_image(small_lossy_webp(), "a");
  EXPECT_EQ(std::tuple(lossy.width, lossy.height, lossy.channels), std::tuple(8, 8, 3));
}

TEST(Webp, AnimationIsRefusedByName) {
  FileBytes webp = bytes_of("RIFF");
  append(webp, bytes_of({22, 0, 0, 0}));
  append(webp, bytes_of("WEBPVP8X"));
  append(webp, bytes_of({10, 0, 0, 0, 0x02, 0, 0, 0, 2, 0, 0, 1, 0, 0}));
  EXPECT_MENTIONS(refusal(webp), "an animated WebP");
}

TEST(ImageKind, IsToldFromTheBytesWhateverTheName) {
  const std::pair<std::string_view, std::string_view> heads[] = {
      {"GIF89a....", "a GIF image (named .jpg)"},
      {std::string_view("II*\0....", 8), "a TIFF image (named .jpg)"},
      {std::string_view("\0\0\0\x18"
                        "ftypheic\0\0\0\0mif1heic",
                        24),
       "a HEIC image (named .jpg)"},
      {std::string_view("\0\0\0\x18"
                        "ftypmif1\0\0\0\0mif1avif",
                        24),
       "an AVIF image (named .jpg)"},
      {std::string_view("\0\0\0\x0cJXL \r\n\x87\n", 12), "a JPEG XL image (named .jpg)"},
      {"8BPS....", "a Photoshop image (named .jpg)"},
      {"P6\n3 2\n255\n", "a PNM image (named .jpg)"},
      {"<svg xmlns=...", "an SVG image (named .jpg)"}};
  for (const auto& [head, reason] : heads)
    EXPECT_EQ(refusal(bytes_of(head), "a.jpg"), fmt::format("a.jpg: {}; convert it to PNG or JPEG", reason));
  EXPECT_EQ(refusal(bytes_of("GIF89a...."), "b.GIF"), "b.GIF: a GIF image; convert it to PNG or JPEG");

  EXPECT_EQ(kind_of(small_jpeg()), ImageKind::jpeg);
  EXPECT_EQ(kind_of(small_webp()), ImageKind::webp);
  EXPECT_EQ(kind_of(small_bmp()), ImageKind::bmp);
  EXPECT_EQ(kind_of(encode_png(pattern(2, 2, 1))), ImageKind::png);
  EXPECT_EQ(kind_of(bytes_of("BM is how this text begins")), ImageKind::none);
  EXPECT_EQ(kind_of({}), ImageKind::none);
}

TEST(ImageKind, NoMessageCarriesRawBytes) {
  const std::string message = refusal(bytes_of("\x1b[31mred"), "a\x1b[31m.jpg");
  EXPECT_EQ(message, "a?[31m.jpg: not a PNG, JPEG, WebP or BMP image");
  EXPECT_MENTIONS(refusal(bytes_of("GIF89a"), "a.\x1b[31m"), "(named .?[31m)");
}

TEST(LargeImages, PhotosOf108MegapixelsAreRead) {
  const FileBytes png = png_of({.width = 12000, .height = 9000, .depth = 1, .rows = FileBytes(size_t{9000} * 1501)});
  const Image image = decode_image(png, "a");
  EXPECT_EQ(image.pixels.size(), 108'000'000u);
}

TEST(LargeImages, TakeTurnsAcrossThreadsAndNestWithinOne) {
  const ImageInfo large{.width = 8000, .height = 6000}, small{.width = 800, .height = 600};
  Turn turn = turn_for(large);
  EXPECT_TRUE(turn_for(large).owns_lock());
  EXPECT_FALSE(turn_for(small).owns_lock());
  auto other = std::async(std::launch::async, [&] { return turn_for(large).owns_lock(); });
  EXPECT_EQ(other.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  turn.unlock();
  EXPECT_TRUE(other.get());
}

TEST(Background, ReplacesWhatIsTransparentOnceAndRounded) {
  EXPECT_EQ(parse_background("white"), (Background{255, 255, 255}));
  EXPECT_EQ(parse_background("black"), (Background{0, 0, 0}));
  EXPECT_EQ(parse_background("#1a2B3c"), (Background{0x1a, 0x2b, 0x3c}));
  for (const char* wrong : {"", "#12345", "#1234567", "#12345g", "#-12345", "red", "1a2b3c"})
    EXPECT_MENTIONS(message_of<ConfigError>([&] { parse_background(wrong); }), "white, black or #rrggbb");

  Image image(1, 1, 4);
  for (int alpha : {0, 1, 127, 128, 254, 255})
    for (int value : {0, 100, 255}) {
      image.pixels = {uint8_t(value), 0, 0, uint8_t(alpha)};
      const double exact = (value * alpha + 10.0 * (255 - alpha)) / 255;
      EXPECT_EQ(to_channels(image, 3, {10, 10, 10}).pixels[0], std::lround(exact)) << value << " " << alpha;
    }
  EXPECT_FALSE(opaque(Image(2, 2, 4, 254)));
  EXPECT_TRUE(opaque(Image(2, 2, 4, 255)));
  EXPECT_TRUE(opaque(Image(2, 2, 3, 0)));
}

}  // namespace
}  // namespace firn
