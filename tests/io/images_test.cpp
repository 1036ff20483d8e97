#include <cmath>
#include <limits>

#include "io/images.h"
#include "tests/io/image_files.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

std::string refusal(const FileBytes& bytes) {
  return message_of([&] { decode_image(bytes, "a.png"); });
}

TEST(Images, PngKeepsEveryPixelOfEveryChannelCount) {
  for (int channels : {1, 3, 4}) {
    const Image image = pattern(13, 7, channels);
    EXPECT_EQ(decode_image(encode_png(image), "a"), image) << channels;
  }
}

TEST(Images, JpegAndBmpAreRead) {
  const Image jpeg = decode_image(small_jpeg(), "a.jpg");
  EXPECT_EQ(jpeg, Image(16, 16, 1, 128));
  const Image bmp = decode_image(small_bmp(), "a.bmp");
  EXPECT_EQ(bmp.width, 2);
  EXPECT_EQ(bmp.at(0, 1)[0], 200);
}

// Each part in memory of its own, so that a sanitizer sees a read beyond it.
TEST(Images, TruncatedFilesAreRejectedAtEveryLength) {
  const FileBytes files[] = {without_end(encode_png(pattern(9, 9, 3)), 12), small_jpeg(), small_bmp(), small_webp(),
                             small_lossy_webp()};
  for (const FileBytes& whole : files)
    for (size_t n = 0; n < whole.size(); ++n) {
      const FileBytes part(whole.begin(), whole.begin() + std::ptrdiff_t(n));
      EXPECT_THROW(decode_image(part, "x"), IoError) << n << " of " << whole.size();
    }
}

TEST(Images, TruncationIsSaidInOneLine) {
  auto png = encode_png(pattern(20, 20, 3));
  png = without_end(png, 20);
  EXPECT_EQ(refusal(png), "a.png: truncated PNG: pixels are missing");
  auto jpeg = small_jpeg();
  jpeg.pop_back();
  EXPECT_EQ(refusal(jpeg), "a.png: truncated JPEG: no end marker");
}

TEST(Images, EndMarkerOfAThumbnailDoesNotCompleteAJpeg) {
  auto jpeg = small_jpeg();
  jpeg = without_end(jpeg, 2);
  const FileBytes thumbnail{std::byte{0xff}, std::byte{0xe1}, std::byte{0},
                            std::byte{4},    std::byte{0xff}, std::byte{0xd9}};
  jpeg.insert(jpeg.begin() + 2, thumbnail.begin(), thumbnail.end());
  EXPECT_MENTIONS(refusal(jpeg), "truncated JPEG");
}

TEST(Images, JpegWithAnOversizedHuffmanTableIsRejected) {
  auto jpeg = small_jpeg();
  const size_t counts = 2 + 69 + 13 + 5;
  ASSERT_EQ(jpeg[counts], std::byte{1});
  jpeg[counts] = jpeg[counts + 1] = std::byte{0xff};
  EXPECT_MENTIONS(refusal(jpeg), "broken JPEG");
  EXPECT_THROW(image_info(jpeg, "a"), IoError);
}

TEST(Images, PngThatLiesAboutItsSizeIsRejected) {
  auto png = encode_png(pattern(4, 4, 1));
  png[18] = std::byte{0x20};  // width 8196
  EXPECT_MENTIONS(refusal(png), "checksum is wrong");
  png[22] = std::byte{0x20};  // height 8196: 67 million pixels in a few dozen bytes
  EXPECT_MENTIONS(refusal(png), "cannot hold");
  png[18] = png[22] = std::byte{0x7f};
  EXPECT_MENTIONS(refusal(png), "more than this engine reads");
  png[18] = std::byte{0x40}, png[19] = std::byte{1};
  EXPECT_THROW(image_info(png, "a"), IoError);
}

TEST(Images, ImagesOfTooManyPixelsAreRejectedFromTheHeader) {
  auto bmp = small_bmp();
  bmp[19] = std::byte{0x41}, bmp[23] = std::byte{0x3f};
  EXPECT_MENTIONS(refusal(bmp), "16642x16130 pixels are more than");
  bmp[19] = std::byte{2}, bmp[23] = std::byte{2};
  EXPECT_MENTIONS(refusal(bmp), "truncated BMP");
}

TEST(Images, DamageInsideAPngIsNoticed) {
  auto png = encode_png(pattern(20, 20, 3));
  png[png.size() / 2] ^= std::byte{1};
  EXPECT_MENTIONS(refusal(png), "checksum is wrong");
}

TEST(Images, OtherFilesAreNamedAsSuch) {
  EXPECT_EQ(refusal({}), "a.png: an empty file");
  EXPECT_EQ(refusal(FileBytes(100)), "a.png: not a PNG, JPEG, WebP or BMP image");
}

TEST(Images, ChannelsConvertBothWays) {
  const Image grey(2, 1, 1, 77);
  EXPECT_EQ(to_channels(grey, 3), Image(2, 1, 3, 77));
  EXPECT_EQ(to_channels(to_channels(grey, 4), 1), grey);
  EXPECT_EQ(to_channels(grey, 4).at(1, 0)[3], 255);
  Image red(1, 1, 4, 0);
  red.at(0, 0)[0] = 255;
  EXPECT_EQ(to_channels(red, 3).pixels, (std::vector<uint8_t>{255, 255, 255}));  // transparent
  red.at(0, 0)[3] = 255;
  EXPECT_EQ(to_channels(red, 1).pixels[0], 76);  // 0.299 * 255
  EXPECT_EQ(to_channels(red, 3).pixels, (std::vector<uint8_t>{255, 0, 0}));
  EXPECT_THROW(to_channels(red, 2), ConfigError);
}

TEST(Images, MirrorTwiceIsTheSame) {
  const Image image = pattern(5, 3, 3);
  EXPECT_EQ(mirror(image).at(0, 1)[2], image.at(4, 1)[2]);
  EXPECT_EQ(mirror(mirror(image)), image);
}

TEST(Images, CropTakesTheCentre) {
  Image image(30, 10, 1, 0);
  for (int y = 0; y < 10; ++y)
    for (int x = 10; x < 20; ++x) *image.at(x, y) = 255;
  EXPECT_EQ(center_crop_resize(image, 10, 10), Image(10, 10, 1, 255));
  EXPECT_EQ(center_crop_resize(image, 4, 4), Image(4, 4, 1, 255));
  EXPECT_EQ(center_crop_resize(pattern(8, 8, 3), 8, 8), pattern(8, 8, 3));
}

TEST(Images, ResizingKeepsFlatColourAndAverage) {
  EXPECT_EQ(center_crop_resize(Image(17, 17, 4, 99), 40, 40), Image(40, 40, 4, 99));
  Image stripes(64, 64, 1);
  for (size_t i = 0; i < stripes.pixels.size(); ++i) stripes.pixels[i] = i % 2 ? 200 : 100;
  for (uint8_t v : center_crop_resize(stripes, 8, 8).pixels) EXPECT_NEAR(v, 150, 3);  // no aliasing
}

TEST(Images, ColourUnderTransparencyDoesNotLeak) {
  Image image(8, 8, 4, 0);
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      const bool visible = x < 4;
      image.at(x, y)[0] = visible ? 255 : 0;
      image.at(x, y)[1] = visible ? 0 : 255;
      image.at(x, y)[3] = visible ? 255 : 0;
    }
  const Image small = center_crop_resize(image, 3, 3);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(small.at(i % 3, i / 3)[1], 0);
}

TEST(Images, PngOfMoreBytesThanAnIntCountsIsRefused) {
  Image image;
  image.width = image.height = 65536;
  image.channels = 3;
  image.pixels.resize(1);  // refused before a pixel is read
  EXPECT_THROW(encode_png(image), IoError);
}

TEST(Images, FloatsRoundAndClamp) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values{-1, 1, 0, -5, 5, nan};
  EXPECT_EQ(image_from_floats(values, 1, 6, 1).pixels, (std::vector<uint8_t>{0, 255, 128, 0, 255, 0}));
  EXPECT_EQ(image_from_floats(std::vector<float>{0.5f}, 1, 1, 1, 0, 1).pixels[0], 128);
  EXPECT_THROW(image_from_floats(values, 2, 2, 1), ShapeError);
}

TEST(Sheets, GridPlacesTilesInRows) {
  const std::vector<Image> tiles{Image(2, 2, 1, 10), Image(2, 2, 3, 20), Image(2, 2, 1, 30)};
  const Image sheet = grid(tiles, 2, 1);
  EXPECT_EQ(sheet.width, 5);
  EXPECT_EQ(sheet.height, 5);
  EXPECT_EQ(sheet.channels, 3);
  EXPECT_EQ(sheet.at(0, 0)[1], 10);
  EXPECT_EQ(sheet.at(2, 0)[0], 255);  // padding
  EXPECT_EQ(sheet.at(3, 0)[0], 20);
  EXPECT_EQ(sheet.at(1, 4)[2], 30);
  EXPECT_EQ(sheet.at(4, 4)[2], 255);  // no tile
  EXPECT_THROW(grid({}, 2), ConfigError);
}

TEST(Sheets, StacksAddUp) {
  const std::vector<Image> parts{Image(2, 3, 1, 1), Image(4, 5, 1, 2)};
  const Image column = stack_vertical(parts);
  EXPECT_EQ(column.width, 4);
  EXPECT_EQ(column.height, 8);
  EXPECT_EQ(*column.at(3, 3), 2);
  EXPECT_EQ(upscale(Image(2, 2, 3, 9), 3), Image(6, 6, 3, 9));
}

TEST(Sheets, TitleIsDrawnAboveAndNeverOverTheImage) {
  const Image image(300, 20, 3, 128);
  const Image titled = with_title(image, "kimg 200", 2);
  const int strip = titled.height - image.height;
  ASSERT_GT(strip, 10);
  int dark = 0;
  for (int y = 0; y < strip; ++y)
    for (int x = 0; x < titled.width; ++x) dark += titled.at(x, y)[0] == 0;
  EXPECT_GT(dark, 50);
  for (int y = strip; y < titled.height; ++y)
    for (int x = 0; x < titled.width; ++x) ASSERT_EQ(titled.at(x, y)[0], 128);
}

TEST(Sheets, LongAndForeignTitlesFit) {
  const Image titled = with_title(Image(8, 8, 1, 0),
                                  "una ni\xc3\xb1"
                                  "a con un nombre largo",
                                  3);
  EXPECT_GT(titled.width, 100);
  EXPECT_EQ(with_title(Image(8, 8, 1), "").width, 8);
}

TEST(Sheets, TitlesAreUtf8) {
  const auto strip = [](const char* title) { return with_title(Image(200, 8, 1), title, 1); };
  EXPECT_NE(strip("\u00e9"), strip("e"));        // a mark over the letter,
  EXPECT_EQ(strip("\u00e9"), strip("e\u0301"));  // however it is written
  EXPECT_NE(strip("\u00e9"), strip("\u00e8"));
  EXPECT_EQ(strip("\u65e5"), strip("\u672c"));  // a box for what the font lacks: one a character, not one a byte
  EXPECT_NE(strip("\u65e5"), strip(""));
  EXPECT_NE(strip("\u65e5"), strip("\u65e5\u672c"));
  EXPECT_EQ(strip("\u00c6"), strip("AE"));
  EXPECT_EQ(strip("\xff"), strip("\u65e5"));
}

}  // namespace
}  // namespace firn
