#include "io/pytorch_file.h"

#include <zip.h>

#include <algorithm>

#include "io/pickle.h"
#include "io/weights.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

const std::filesystem::path golden = std::filesystem::path(FIRN_TEST_DATA) / "golden";

// --- the instructions of pickles
std::string little(uint64_t v, size_t size) { return {reinterpret_cast<const char*>(&v), size}; }
std::string text(std::string_view s) { return "X" + little(s.size(), 4) + std::string(s); }
std::string integer(int64_t v) {
  return v >= 0 && v < 1 << 30 ? "J" + little(uint64_t(v), 4) : "\x8a\x08" + little(uint64_t(v), 8);
}
std::string global(std::string_view module, std::string_view name) { return fmt::format("c{}\n{}\n", module, name); }
std::string tuple(std::initializer_list<std::string> items) {
  std::string all = "(";
  for (const std::string& i : items) all += i;
  return all + "t";
}
std::string numbers(const std::vector<int64_t>& values) {
  std::string all = "(";
  for (const int64_t v : values) all += integer(v);
  return all + "t";
}
std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

struct Stored {
  std::string key = "0";
  int64_t count = 4, first = 0;
  std::vector<int64_t> shape = {4}, strides = {1};
  std::string type = "FloatStorage";
};
std::string tensor(const Stored& s) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({tuple({text("storage"), global("torch", s.type), text(s.key), text("cpu"), integer(s.count)}) + "Q",
                integer(s.first), numbers(s.shape), numbers(s.strides), "\x89",
                global("collections", "OrderedDict") + ")R"}) +
         "R";
}
std::string dict(const std::string& name, const std::string& value) { return "}" + text(name) + value + "s"; }

const std::string magic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
std::string old_file(const std::string& state, const std::string& keys = "]" + text("0") + "a",
                     const std::string& data = little(4, 8) + std::string(16, '\0')) {
  return pickle(magic) + pickle(integer(1001)) + pickle(dict("little_endian", "\x88")) + pickle(state) + pickle(keys) +
         data;
}

SafetensorsFile parse(const std::string& file) { return parse_pytorch(std::as_bytes(std::span(file)), "x.pth"); }
std::string refusal(const std::string& file) {
  const std::string message = message_of([&] { parse(file); });
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  EXPECT_TRUE(message.starts_with("x.pth: ")) << message;
  return message;
}

TEST(PytorchFile, WhatTorchSavesIsReadInBothForms) {
  for (const char* name : {"weights.pth", "weights_old.pth"}) {
    const SafetensorsFile file = read_weights(golden / name);
    const auto floats = [&](const char* tensor) { return file.at(tensor).to_floats(); };
    EXPECT_EQ(file.tensors.size(), 12u);
    EXPECT_EQ(file.at("plain").shape, (std::vector<int64_t>{4, 6}));
    EXPECT_EQ(floats("plain")[23], 23 / 8.0f);
    EXPECT_EQ(file.at("turned").shape, (std::vector<int64_t>{6, 4}));
    EXPECT_EQ(floats("turned")[1], 6);
    EXPECT_EQ(floats("turned")[22], 17);
    EXPECT_EQ(floats("part"), (std::vector<float>{8, 9, 14, 15}));
    for (const char* other : {"half", "brain", "double"})
      EXPECT_EQ(floats(other), (std::vector<float>{0, 1, 2, 3, 4, 5})) << other;
    EXPECT_EQ(file.at("count").to_doubles(), std::vector<double>{7});
    EXPECT_EQ(floats("bytes"), (std::vector<float>{1, 2, 255}));
    EXPECT_EQ(floats("flag"), std::vector<float>{1});
    EXPECT_EQ(file.at("empty").shape, (std::vector<int64_t>{0, 3}));
    EXPECT_EQ(floats("parameter")[0], 18);
    EXPECT_EQ(floats("within.it")[5], 17);
  }
}

TEST(PytorchFile, WhatAnOptimiserHasLiesBetweenTheWeights) {
  const std::string moments =
                        dict("optimizer", "}" + integer(7) + tensor({.key = "1", .count = 2, .shape = {2}}) + "s"),
                    state = moments + text("w") + tensor({}) + "s";
  const SafetensorsFile file = parse(
      old_file(state, "]" + text("1") + "a" + text("0") + "a",
               little(2, 8) + std::string(8, '\1') + little(4, 8) + little(0x3f800000, 4) + std::string(12, '\0')));
  EXPECT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.at("w").to_floats(), (std::vector<float>{1, 0, 0, 0}));
}

TEST(PytorchFile, WhatPython2WroteIsRead) {
  const auto bytes = [](std::string_view s) { return "U" + little(s.size(), 1) + std::string(s); };
  const auto list = [](const std::string& items) { return "](" + items + "e"; };
  const std::string tensor = global("torch._utils", "_rebuild_tensor") +
                             tuple({tuple({bytes("storage"), global("torch", "FloatStorage"), bytes("0"),
                                           bytes("cuda:0"), integer(4), "N"}) +
                                        "Q",
                                    integer(0), numbers({2, 2}), numbers({2, 1})}) +
                             "R",
                    pairs = list(list(bytes("layer0.0.weight") + tensor)),
                    state = global("collections", "OrderedDict") + tuple({pairs}) + "R";
  const SafetensorsFile file = parse(old_file(state, list(bytes("0"))));
  EXPECT_EQ(file.at("layer0.0.weight").shape, (std::vector<int64_t>{2, 2}));
}

TEST(PytorchFile, TruncatedFilesAreRefusedAtEveryLength) {
  for (const char* name : {"weights.pth", "weights_old.pth"}) {
    const std::vector<std::byte> whole = read_bytes(golden / name);
    for (size_t n = 0; n < whole.size(); ++n)
      EXPECT_THROW(parse_pytorch(std::span(whole).first(n), "x"), IoError) << name << " " << n;
  }
}

TEST(PytorchFile, NothingIsEverCalled) {
  const std::string attack = global("os", "system") + tuple({text("touch firn-was-here")}) + "R";
  EXPECT_MENTIONS(refusal(old_file(dict("w", attack))),
                  "wants os.system, which weights do not need; nothing of it was run");
  EXPECT_MENTIONS(refusal(old_file(dict("w", text("builtins") + text("eval") + "\x93"))), "wants builtins.eval");
  EXPECT_MENTIONS(refusal(old_file("(S'echo'\nios\nsystem\n")), "wants os.system");
  EXPECT_MENTIONS(refusal(pickle("(" + text("echo") + "ios\nsystem\n")), "wants os.system");
  EXPECT_MENTIONS(refusal(old_file(dict("w", global("torch", "FloatStorage") + integer(1) + "R"))), "cannot be called");
  EXPECT_MENTIONS(refusal(old_file(global("torch", "FloatStorage") + "}b")), "sets attributes");
  EXPECT_FALSE(std::filesystem::exists("firn-was-here"));
}

TEST(PytorchFile, OtherFilesAreRefused) {
  EXPECT_MENTIONS(refusal(pickle("}")), "holds no tensors");
  EXPECT_MENTIONS(refusal(pickle(magic) + pickle(integer(7))), "version");
  EXPECT_MENTIONS(refusal(old_file("]")), "holds data that no tensor has");
  EXPECT_MENTIONS(refusal(old_file("}", "]", "")), "holds no tensors");
  EXPECT_MENTIONS(refusal(pickle(magic) + pickle(integer(1001)) + pickle(dict("little_endian", "\x89"))),
                  "little-endian");
  EXPECT_MENTIONS(refusal(std::string("\x80\x09.", 3)), "pickle protocol 9");
}

TEST(PytorchFile, DeepNestingAndHugeNumbersCostNothing) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += text("w") + "}";
  EXPECT_MENTIONS(refusal(old_file("}" + deep + std::string(100'000, 's'))), "values within values");
  EXPECT_MENTIONS(refusal(old_file(std::string(500'000, ']'))), "makes more than");
  EXPECT_MENTIONS(refusal(old_file("X\xff\xff\xff\xff")), "behind its end");
  EXPECT_MENTIONS(refusal(old_file("}r" + little(0xffffffff, 4) + "j" + little(7, 4))), "recalls what was never there");
  // A dict that holds itself many times over.
  std::string loop = "}q" + little(0, 1);
  for (int i = 0; i < 1000; ++i) loop += text(std::to_string(i)) + "h" + little(0, 1) + "s";
  EXPECT_MENTIONS(refusal(old_file(loop)), "values within values");
  std::string wide = loop + "q" + little(1, 1) + "0}" + text("a") + "h" + little(1, 1) + "s";
  refusal(old_file(wide));
  for (const char* code : {"s", "u", "t", "a", "R", "0", "1", "Q", "b", "\x85", "qx", "(0", "(s"})
    refusal(old_file(code));
}

TEST(PytorchFile, SizesAreHeldAgainstTheFile) {
  const auto of = [](const Stored& s) { return old_file(dict("w", tensor(s))); };
  EXPECT_EQ(parse(of({})).at("w").to_floats(), std::vector<float>(4));
  EXPECT_EQ(parse(of({.shape = {2, 2}, .strides = {1, 2}})).at("w").shape, (std::vector<int64_t>{2, 2}));
  EXPECT_MENTIONS(refusal(of({.shape = {5}})), "needs 5 numbers, its storage has 4");
  EXPECT_MENTIONS(refusal(of({.first = 1})), "needs 5 numbers");
  EXPECT_MENTIONS(refusal(of({.shape = {1'000'000'000'000}, .strides = {0}})), "its storage has 4");
  EXPECT_MENTIONS(refusal(of({.shape = {1LL << 40, 1LL << 40}, .strides = {1, 1}})), "malformed");
  EXPECT_MENTIONS(refusal(of({.shape = {2}, .strides = {1LL << 62}})), "needs");
  EXPECT_MENTIONS(refusal(of({.shape = {-1}})), "a size that is none");
  EXPECT_MENTIONS(refusal(of({.strides = {}})), "malformed");
  EXPECT_MENTIONS(refusal(of({.count = 1LL << 60, .shape = {1LL << 60}})), "holds 4 numbers for storage \"0\"");
  EXPECT_MENTIONS(refusal(of({.key = "1"})), "data that no tensor has");
  EXPECT_MENTIONS(refusal(of({.type = "ComplexFloatStorage"})), "wants torch.ComplexFloatStorage");
  EXPECT_MENTIONS(refusal(old_file(dict("w", tensor({})), "]")), "no data for tensor \"w\"");
  EXPECT_MENTIONS(refusal(old_file(dict("w", tensor({})), "]" + text("0") + "a", little(4, 8) + "12345")), "truncated");
  const std::string two = "}" + text("a") + tensor({}) + "s" + text("b") + tensor({.type = "DoubleStorage"}) + "s";
  EXPECT_MENTIONS(refusal(old_file(two)), "is of two kinds");
  std::string shared = "}";
  for (int i = 0; i < 1000; ++i) shared += text(std::to_string(i)) + tensor({.count = 10000, .shape = {10000}}) + "s";
  EXPECT_MENTIONS(refusal(old_file(shared, "]" + text("0") + "a", little(10000, 8) + std::string(40000, '\0'))),
                  "far larger than the file");
}

// --- zips
std::string zipped(const std::vector<std::pair<std::string, std::string>>& entries, bool packed = false) {
  Scratch dir;
  int error = 0;
  zip_t* zip = zip_open((dir / "x.zip").c_str(), ZIP_CREATE, &error);
  for (const auto& [name, data] : entries) {
    const auto index = zip_file_add(zip, name.c_str(), zip_source_buffer(zip, data.data(), data.size(), 0), 0);
    zip_set_file_compression(zip, zip_uint64_t(index), packed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  zip_close(zip);
  return read_text(dir / "x.zip");
}

TEST(PytorchFile, ZipsAreHeldAgainstTheirDirectory) {
  const std::string state = pickle(dict("w", tensor({})));
  const std::string whole = zipped({{"a/data.pkl", state}, {"a/data/0", std::string(16, '\0')}});
  EXPECT_EQ(parse(whole).at("w").to_floats(), std::vector<float>(4));
  EXPECT_MENTIONS(refusal(zipped({{"a/data.pkl", state}, {"a/data/0", "123"}})), "holds 3 bytes for tensor \"w\"");
  EXPECT_MENTIONS(refusal(zipped({{"a/data.pkl", state}})), "no data for tensor \"w\"");
  EXPECT_MENTIONS(refusal(zipped({{"a/notes", "x"}})), "no data.pkl");
  EXPECT_MENTIONS(refusal(zipped({{"a/data.pkl", state}, {"a/byteorder", "big"}})), "little-endian");
  EXPECT_MENTIONS(refusal(zipped({{"a/data.pkl", state}, {"a/data/0", std::string(16, '\0')}}, true)), "compressed");

  std::string overlapping = whole;  // the second entry where the first one is
  const size_t second = overlapping.rfind("PK\1\2");
  std::copy_n(std::string(4, '\0').data(), 4, overlapping.data() + second + 42);
  EXPECT_MENTIONS(refusal(overlapping), "overlap");
  std::string large = whole;  // sizes beyond the file
  for (const size_t at : {second + 20, second + 24}) std::copy_n("\xff\xff\xff\x7f", 4, large.data() + at);
  refusal(large);
}

TEST(PytorchFile, WeightsAreKnownByTheirFirstBytes) {
  Scratch dir;
  put(dir / "a.bin", old_file(dict("w", tensor({}))));
  EXPECT_TRUE(read_weights(dir / "a.bin").contains("w"));
  SafetensorsFile file;
  file.tensors["v"] = StoredTensor::of(std::vector<float>{1}, {1});
  write_safetensors(dir / "b.pth", file);
  EXPECT_TRUE(read_weights(dir / "b.pth").contains("v"));
  EXPECT_MENTIONS(message_of([&] { read_weights(dir / "c"); }), "cannot read");
  put(dir / "d", std::string_view("hello"));
  EXPECT_MENTIONS(message_of([&] { read_weights(dir / "d"); }), "5 bytes are no file of weights");
}

}  // namespace
}  // namespace firn
