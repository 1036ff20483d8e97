#include "io/safetensors.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>

#include "tests/io/io_support.h"

namespace firn {
namespace {

std::vector<std::byte> file_of(std::string_view header, size_t data_size) {
  const uint64_t length = header.size();
  std::string text(reinterpret_cast<const char*>(&length), 8);
  text += header;
  text.resize(text.size() + data_size, '\0');
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string refusal(std::string_view header, size_t data_size) {
  return message_of([&] { parse_safetensors(file_of(header, data_size), "x.safetensors"); });
}

TEST(Safetensors, WhatIsWrittenIsReadBack) {
  Scratch dir;
  SafetensorsFile file;
  const std::vector<float> f{1, -2.5f, 3, 0, 5, 6};
  const std::vector<double> d{1e300};
  const std::vector<int64_t> i{-7, 8};
  const std::vector<uint8_t> u{255, 0, 3};
  file.tensors["w"] = StoredTensor::of(f, {2, 3});
  file.tensors["scalar"] = StoredTensor::of(d, {});
  file.tensors["i"] = StoredTensor::of(i, {2});
  file.tensors["a byte tensor"] = StoredTensor::of(u, {3, 1});
  file.tensors["empty"] = StoredTensor::of(std::span<const float>{}, {0, 4});
  file.metadata = {{"firn.kimg", "200"}, {"note", "Firn \xc3\xa9"}};
  write_safetensors(dir / "a.safetensors", file);

  const auto back = read_safetensors(dir / "a.safetensors");
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), 5u);
  for (const auto& [name, t] : file.tensors) {
    EXPECT_EQ(back.at(name).dtype, t.dtype);
    EXPECT_EQ(back.at(name).shape, t.shape);
    EXPECT_EQ(back.at(name).bytes, t.bytes);
  }
  EXPECT_EQ(back.at("w").to_floats(), f);
  EXPECT_EQ(back.at("scalar").to_doubles(), d);
  EXPECT_EQ(back.at("i").to_doubles(), (std::vector<double>{-7, 8}));
  EXPECT_EQ(back.at("a byte tensor").to_floats(), (std::vector<float>{255, 0, 3}));
}

TEST(Safetensors, HeaderIsPaddedToEightBytesAndDataIsAligned) {
  Scratch dir;
  SafetensorsFile file;
  file.tensors["a"] = StoredTensor::of(std::vector<uint8_t>{1}, {1});
  file.tensors["b"] = StoredTensor::of(std::vector<double>{1}, {1});
  write_safetensors(dir / "a", file);
  const auto text = read_text(dir / "a");
  uint64_t length = 0;
  std::copy_n(text.data(), 8, reinterpret_cast<char*>(&length));
  EXPECT_EQ(length % 8, 0u);
  EXPECT_MENTIONS(text, "\"b\":{\"data_offsets\":[0,8]");
}

TEST(Safetensors, HalfPrecisionConvertsExactly) {
  StoredTensor half{"F16", {6}, {}}, brain{"BF16", {2}, {}};
  for (uint16_t v : {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x7e00})
    for (int b : {v & 0xff, v >> 8}) half.bytes.push_back(std::byte(b));
  for (uint16_t v : {0x3f80, 0xc049})
    for (int b : {v & 0xff, v >> 8}) brain.bytes.push_back(std::byte(b));
  const auto h = half.to_floats();
  EXPECT_EQ(h[0], 1.0f);
  EXPECT_EQ(h[1], -2.0f);
  EXPECT_EQ(h[2], std::ldexp(1.0f, -24));  // the smallest subnormal
  EXPECT_EQ(h[3], 65504.0f);
  EXPECT_EQ(h[4], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(h[5]));
  EXPECT_EQ(brain.to_doubles(), (std::vector<double>{1.0, -3.140625}));
}

TEST(Safetensors, MissingTensorIsNamed) {
  SafetensorsFile file;
  file.name = "faces.safetensors";
  EXPECT_FALSE(file.contains("g.w"));
  EXPECT_EQ(message_of([&] { file.at("g.w"); }), "faces.safetensors: there is no tensor \"g.w\"");
}

TEST(Safetensors, ShapeThatDoesNotFitTheValuesIsAShapeError) {
  EXPECT_THROW(StoredTensor::of(std::vector<float>{1, 2}, {3}), ShapeError);
  EXPECT_THROW(StoredTensor::of(std::vector<float>{1, 2}, {-1, -2}), ShapeError);
}

TEST(Safetensors, TruncatedFilesAreRejectedAtEveryLength) {
  const auto whole = file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_NO_THROW(parse_safetensors(whole, "x"));
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_THROW(parse_safetensors(std::span(whole).first(n), "x"), IoError) << n;
}

TEST(Safetensors, OverlappingOffsetsAreRejected) {
  EXPECT_EQ(
      refusal(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
          6),
      "x.safetensors: tensor \"b\" overlaps the one before it");
}

TEST(Safetensors, HolesAndTrailingBytesAreRejected) {
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}})", 5), "leaves a hole");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 5),
                  "1 bytes follow the last tensor");
}

TEST(Safetensors, OffsetsOutsideOfTheFileAreRejected) {
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8), "ends at byte 9 of 8");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", 4), "reversed");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}})", 4), "not a natural number");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 4),
                  "not a natural number");
}

TEST(Safetensors, ShapesThatLieAreRejected) {
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
                  "needs 8 bytes, its offsets span 4");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
                  "overflows");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0),
                  "overflows");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "not a natural number");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4), "not a natural number");
}

TEST(Safetensors, UnknownTypesAndMalformedEntriesAreRejected) {
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype \"Q4\"");
  EXPECT_MENTIONS(refusal(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), "\"dtype\" is missing");
  EXPECT_MENTIONS(refusal(R"({"a":7})", 0), "not an object");
  EXPECT_MENTIONS(refusal(R"([1,2])", 0), "not a JSON object");
  EXPECT_MENTIONS(refusal(R"({"__metadata__":{"a":1}})", 0), "metadata \"a\" is not a string");
}

TEST(Safetensors, DuplicateNamesAreRejected) {
  EXPECT_MENTIONS(
      refusal(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2),
      "\"a\" appears twice");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}})", 1),
                  "\"dtype\" appears twice");
}

TEST(Safetensors, HostileHeadersAreRejected) {
  EXPECT_MENTIONS(refusal(std::string(1'000'000, '['), 0), "nested deeper than 3");
  EXPECT_MENTIONS(refusal(R"({"a":)", 0), "invalid JSON");
  EXPECT_MENTIONS(refusal("{\"a\xff\":1}", 0), "invalid JSON");
  std::string huge(16, '\xff');
  EXPECT_MENTIONS(message_of([&] { parse_safetensors(std::as_bytes(std::span(huge)), "x"); }),
                  "not a safetensors file");
}

TEST(Safetensors, WritingBrokenTensorsIsRefused) {
  Scratch dir;
  SafetensorsFile file;
  file.tensors["a"] = {"F32", {2}, std::vector<std::byte>(7)};
  EXPECT_MENTIONS(message_of([&] { write_safetensors(dir / "x", file); }), "tensor \"a\"");
  file.tensors.clear();
  file.metadata["k"] = "\xff";
  EXPECT_MENTIONS(message_of([&] { write_safetensors(dir / "x", file); }), "not UTF-8");
  EXPECT_EQ(dir.count(), 0u);
}

TEST(Safetensors, ManyTensorsTakeLinearTimeAndHaveABound) {
  const auto header = [](int tensors) {
    std::string text = "{";
    for (int i = 0; i < tensors; ++i)
      text += fmt::format("{}\"t{}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[{},{}]}}", i ? "," : "", i, i,
                          i + 1);
    return text + "}";
  };
  const std::clock_t began = std::clock();
  EXPECT_EQ(parse_safetensors(file_of(header(80'000), 80'000), "x").tensors.size(), 80'000u);
  EXPECT_LT((std::clock() - began) / CLOCKS_PER_SEC, 20);  // seconds of the processor; by the square it took minutes
  EXPECT_MENTIONS(refusal(header(100'002), 100'002), "more than 100000 tensors");
}

}  // namespace
}  // namespace firn
