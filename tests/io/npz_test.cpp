#include "io/npz.h"

#include <zlib.h>

#include <algorithm>

#include "io/zip_writer.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

const std::filesystem::path golden = std::filesystem::path(FIRN_TEST_DATA) / "golden";

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  const uint32_t size = uint32_t(header.size());
  return std::string("\x93NUMPY", 6) + version + '\0' +
         std::string(reinterpret_cast<const char*>(&size), version == 1 ? 2 : 4) + header + data;
}
std::string header(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}
std::string zipped(const std::vector<std::pair<std::string, std::string>>& entries) {
  const Scratch dir;
  ZipFile zip(dir / "x.zip");
  for (const auto& [name, data] : entries) zip.add(name, data);
  zip.finish();
  return read_text(dir / "x.zip");
}
auto bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
StoredTensor parse(const std::string& file) { return parse_npy(bytes(file), "x.npy"); }
std::string one_line(const std::string& message) {
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  EXPECT_TRUE(message.starts_with("x.np")) << message;
  return message;
}
std::string refusal(const std::string& file) {
  return one_line(message_of([&] { parse(file); }));
}
std::string zip_refusal(const std::string& file) {
  return one_line(message_of([&] { parse_npz(bytes(file), "x.npz"); }));
}

// Replaces the number in a field of the directory's last entry.
std::string with_field(std::string zip, size_t at, uint32_t value, size_t size) {
  std::copy_n(reinterpret_cast<const char*>(&value), size, zip.data() + zip.rfind("PK\1\2") + at);
  return zip;
}

TEST(Npz, WhatNumpyWritesIsReadStoredAndDeflated) {
  for (const char* name : {"arrays.npz", "packed.npz"}) {
    const SafetensorsFile file = read_npz(golden / name);
    std::vector<double> eighths, shifted;
    for (int i = 0; i < 24; ++i) eighths.push_back(i / 8.0), shifted.push_back(i - 7);
    EXPECT_EQ(file.at("layer0/conv/W").shape, (std::vector<int64_t>{2, 3, 4}));
    for (const char* array : {"layer0/conv/W", "turned"}) EXPECT_EQ(file.at(array).to_doubles(), eighths) << array;
    for (const char* array : {"long", "int"}) EXPECT_EQ(file.at(array).to_doubles(), shifted) << array;
    EXPECT_EQ(file.at("turned").dtype, "F64");
    EXPECT_EQ(file.at("half").to_doubles()[5], 2.5);
    EXPECT_EQ(file.at("byte").to_doubles(), (std::vector<double>{1, 2, 255}));
    EXPECT_EQ(file.at("flag").to_doubles(), (std::vector<double>{1, 0}));
    EXPECT_EQ(file.at("scalar").shape, std::vector<int64_t>{});
    EXPECT_EQ(file.at("scalar").to_doubles(), std::vector<double>{2.5});
    EXPECT_EQ(file.at("vector").shape, std::vector<int64_t>{1});
    EXPECT_EQ(file.at("empty").shape, (std::vector<int64_t>{0, 3}));
  }
  EXPECT_EQ(read_npz(golden / "packed.npz").at("zeros").to_floats(), std::vector<float>(10'000));
  const StoredTensor turned = read_npy(golden / "turned.npy");
  EXPECT_EQ(turned.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(turned.to_doubles(), (std::vector<double>{0, 1, 2, 3, 4, 5}));
}

TEST(Npz, WhatIsWrittenIsWhatNumpyWrites) {
  const Scratch dir;
  SafetensorsFile file = read_npz(golden / "arrays.npz");
  write_npz(dir / "again.npz", file);
  const SafetensorsFile again = read_npz(dir / "again.npz");
  ASSERT_EQ(again.tensors.size(), file.tensors.size());
  for (const auto& [name, t] : file.tensors) {
    EXPECT_EQ(again.at(name).shape, t.shape) << name;
    EXPECT_EQ(again.at(name).dtype, t.dtype) << name;
    EXPECT_EQ(again.at(name).bytes, t.bytes) << name;
  }
  // Byte by byte, where numpy's own file has the array in C order.
  const auto part = [](const std::string& zip, const std::string& name) {
    const size_t at = zip.find("\x93NUMPY", zip.find(name + ".npy"));
    return zip.substr(at, 128);
  };
  const std::string ours = read_text(dir / "again.npz"), theirs = read_text(golden / "arrays.npz");
  for (const char* name : {"layer0/conv/W", "long", "byte", "vector"}) EXPECT_EQ(part(ours, name), part(theirs, name));

  file.tensors["brain"] = {"BF16", {1}, std::vector<std::byte>(2)};
  EXPECT_MENTIONS(message_of([&] { write_npz(dir / "x.npz", file); }), "\"brain\" has a dtype");
  EXPECT_EQ(dir.count(), 1u);
}

TEST(Npz, HeadersMayBeWrittenInOtherWays) {
  const std::string data(8, '\0');
  EXPECT_EQ(parse(npy("{'shape': (2L, ), 'fortran_order': True, \"descr\": \"<f4\"}\n", data)).shape,
            std::vector<int64_t>{2});
  EXPECT_EQ(parse(npy(header("<f8", "()"), data, 2)).shape, std::vector<int64_t>{});
  EXPECT_EQ(parse(npy(header("<i4", "(1,2)"), data, 3)).shape, (std::vector<int64_t>{1, 2}));
}

TEST(Npz, OtherHeadersAreRefused) {
  for (const char* malformed :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "{'descr': '<f4', 'shape': (2,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "{'descr': '<f4', 'fortran_order': False 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + x", "{'descr': __import__('os')}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2)}"})
    EXPECT_MENTIONS(refusal(npy(malformed, std::string(8, '\0'))), "malformed");
  EXPECT_MENTIONS(refusal(npy(header("|O", "(2,)"), "12345678")), "holds Python objects");
  EXPECT_MENTIONS(refusal(npy(header(">f4", "(2,)"), "12345678")), "has numbers >f4, which are not read");
  EXPECT_MENTIONS(refusal(npy(header("<U2", "(1,)"), "12345678")), "has numbers <U2");
  EXPECT_MENTIONS(refusal(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "12345678")),
                  "of several fields");
  EXPECT_MENTIONS(refusal(npy(header("<f4", "(3,)"), "12345678")), "needs 12 bytes for its shape and has 8");
  EXPECT_MENTIONS(refusal(npy(header("<f4", "(1,)"), "12345678")), "needs 4 bytes");
  EXPECT_MENTIONS(refusal(npy(header("<f4", "(4611686018427387904, 4)"), "")), "overflows");
  EXPECT_MENTIONS(refusal(npy(header("<f4", "(2,)"), "12345678", 4)), "version 4");
  EXPECT_MENTIONS(refusal(npy(std::string(100'000, ' '), "", 2)), "a header of 100000 bytes");
  EXPECT_MENTIONS(refusal("hello, world"), "no array of numpy");
}

TEST(Npz, TruncatedFilesAreRefusedAtEveryLength) {
  for (const char* name : {"arrays.npz", "packed.npz"}) {
    const std::string whole = read_text(golden / name);
    for (size_t n = 0; n < whole.size(); ++n) zip_refusal(whole.substr(0, n));
  }
  const std::string whole = read_text(golden / "turned.npy");
  for (size_t n = 0; n < whole.size(); ++n) refusal(whole.substr(0, n));
}

TEST(Npz, ZipsAreHeldAgainstTheirDirectory) {
  const std::string array = npy(header("<f4", "(2,)"), "12345678");
  const auto with = [&](const char* name) { return zipped({{name, array}}); };
  EXPECT_TRUE(parse_npz(bytes(with("a/b.npy")), "x.npz").contains("a/b"));
  EXPECT_MENTIONS(zip_refusal(with("a")), "\"a\" is no array");
  for (const char* name : {"/a.npy", "../a.npy", "b/../../a.npy"}) EXPECT_MENTIONS(zip_refusal(with(name)), "unsafe");
  EXPECT_MENTIONS(zip_refusal(zipped({{"a.npy", array}, {"a.npy", array}})), "is there twice");
  EXPECT_MENTIONS(zip_refusal(zipped({{"a.npy", npy(header("|O", "(1,)"), "\x80\x04.")}})),
                  "\"a.npy\" holds Python objects");
  EXPECT_MENTIONS(zip_refusal(zipped({})), "not a .npz");
  std::string damaged = with("a.npy");
  damaged[damaged.find("12345678")] ^= 1;
  EXPECT_MENTIONS(zip_refusal(damaged), "checksum");
  EXPECT_MENTIONS(zip_refusal(with_field(with("a.npy"), 8, 1, 2)), "encrypted");
  EXPECT_MENTIONS(zip_refusal(with_field(with("a.npy"), 10, 12, 2)), "packed in a way");
  EXPECT_MENTIONS(zip_refusal(with_field(with("a.npy"), 24, 1 << 30, 4)), "truncated or damaged");
  const std::string two = zipped({{"a.npy", array}, {"b.npy", array}});
  EXPECT_MENTIONS(zip_refusal(with_field(two, 42, 0, 4)), "overlap");
}

TEST(Npz, BombsCostNothing) {
  const std::string whole = read_text(golden / "packed.npz");  // ends with the zeros
  EXPECT_MENTIONS(zip_refusal(with_field(whole, 24, 0xfffffff0, 4)), "claims to grow");
  EXPECT_MENTIONS(zip_refusal(with_field(whole, 24, 50'000, 4)), "needs 40000 bytes for its shape and has 49872");
  // What unpacks to more than the directory says.
  EXPECT_MENTIONS(zip_refusal(with_field(whole, 24, 10'000, 4)), "needs 40000 bytes for its shape and has 9872");
}

}  // namespace
}  // namespace firn
