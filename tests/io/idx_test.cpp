#include "io/idx.h"

#include <zlib.h>

#include "tests/io/io_support.h"

namespace firn {
namespace {

std::vector<std::byte> idx_of(std::initializer_list<int> header, size_t data) {
  std::vector<std::byte> bytes;
  for (int v : header) bytes.push_back(std::byte(v));
  for (size_t i = 0; i < data; ++i) bytes.push_back(std::byte(i + 1));
  return bytes;
}

std::string refusal(const std::vector<std::byte>& bytes) {
  return message_of([&] { parse_idx(bytes, "x"); });
}

TEST(Idx, ImagesAreReadAndPadded) {
  const auto array = parse_idx(idx_of({0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2}, 8), "x");
  EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(idx_image(array, 1).pixels, (std::vector<uint8_t>{5, 6, 7, 8}));
  EXPECT_EQ(idx_image(array, 0, 4).pixels, (std::vector<uint8_t>{0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0}));
  EXPECT_THROW(idx_image(array, 2), ShapeError);
  EXPECT_THROW(idx_image(array, 0, 1), ConfigError);
}

TEST(Idx, BrokenFilesAreRejected) {
  EXPECT_MENTIONS(refusal({}), "not an idx file");
  EXPECT_MENTIONS(refusal(idx_of({0, 0, 13, 1, 0, 0, 0, 1}, 1)), "another type");
  EXPECT_MENTIONS(refusal(idx_of({0, 0, 8, 0}, 1)), "broken idx header");
  EXPECT_MENTIONS(refusal(idx_of({0, 0, 8, 3, 0, 0}, 0)), "broken idx header");
  EXPECT_MENTIONS(refusal(idx_of({0, 0, 8, 1, 0, 0, 0, 9}, 8)), "needs 9 bytes, the file has 8");
  EXPECT_MENTIONS(refusal(idx_of({0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, 8)),
                  "overflows");
}

TEST(Idx, GzippedFilesAreReadAndTruncationIsNoticed) {
  Scratch dir;
  const auto plain = idx_of({0, 0, 8, 1, 0, 0, 0, 100}, 100);
  gzFile file = gzopen((dir / "a.gz").c_str(), "wb");
  gzwrite(file, plain.data(), unsigned(plain.size()));
  gzclose(file);
  EXPECT_EQ(read_idx(dir / "a.gz").values.size(), 100u);
  auto cut = read_bytes(dir / "a.gz");
  for (size_t n = 2; n < cut.size(); ++n) EXPECT_THROW(parse_idx(std::span(cut).first(n), "x"), IoError) << n;
  cut[15] ^= std::byte{0xff};
  EXPECT_THROW(parse_idx(cut, "x"), IoError);
}

}  // namespace
}  // namespace firn
