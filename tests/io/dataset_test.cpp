#include "io/dataset.h"

#include <zip.h>

#include <algorithm>
#include <set>

#include "io/dataset_index.h"
#include "io/image_source.h"
#include "io/labels.h"
#include "io/zip_writer.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

void put_image(const std::filesystem::path& path, const Image& image) { put(path, encode_png(image)); }

std::string refusal(const DatasetOptions& options) {
  return message_of<Error>([&] { Dataset{options}; });
}

std::filesystem::path labelled_zip(const Scratch& dir, int images, int classes) {
  ZipWriter zip(dir / "set.zip");
  for (int i = 0; i < images; ++i) zip.add(pattern(4, 4, 3, i), i % classes);
  zip.finish();
  return dir / "set.zip";
}

// Entries written by libzip itself, for what ZipWriter would never write.
void raw_zip(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::string>>& entries,
             bool compress) {
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  ASSERT_NE(zip, nullptr);
  for (const auto& [name, text] : entries) {
    const auto index =
        zip_file_add(zip, name.c_str(), zip_source_buffer(zip, text.data(), text.size(), 0), ZIP_FL_ENC_UTF_8);
    zip_set_file_compression(zip, zip_uint64_t(index), compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

std::string read_json(const std::filesystem::path& zip) {
  const auto source = open_zip(zip);
  for (size_t i = 0; i < source->entries().size(); ++i)
    if (source->entries()[i].name == "dataset.json") {
      const auto bytes = source->read(int64_t(i));
      return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
  return "none";
}

TEST(Dataset, ZipIsReadBackInOrderWithLabels) {
  Scratch dir;
  const Dataset set({.path = labelled_zip(dir, 7, 3)});
  ASSERT_EQ(set.size(), 7);
  EXPECT_EQ(set.num_classes(), 3);
  EXPECT_EQ(set.class_names().size(), 3u);
  EXPECT_EQ(set.name(6), "00000/img00000006.png");
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(set.load(i), pattern(4, 4, 3, i));
    EXPECT_EQ(set.label(i), i % 3);
  }
  EXPECT_TRUE(set.bad_images().empty());
}

TEST(Dataset, FoldersAreClassesSortedByName) {
  Scratch dir;
  put_image(dir / "tulip/b.png", pattern(4, 4, 3, 1));
  put_image(dir / "daisy/deep/a.png", pattern(4, 4, 3, 2));
  put_image(dir / "daisy/.hidden.png", pattern(9, 9, 3, 3));
  put(dir / "daisy/notes.txt", "no image");
  const Dataset set({.path = dir.path()});
  ASSERT_EQ(set.size(), 2);
  EXPECT_EQ(set.class_names(), (std::vector<std::string>{"daisy", "tulip"}));
  EXPECT_EQ(set.name(0), "daisy/deep/a.png");
  EXPECT_EQ(set.label(1), 1);
}

TEST(Dataset, ShardFoldersOfDatasetToolAreNoClasses) {
  Scratch dir;
  put_image(dir / "00000/img00000000.png", pattern(4, 4, 3));
  put_image(dir / "00001/img00001000.png", pattern(4, 4, 3));
  EXPECT_EQ(Dataset({.path = dir.path()}).num_classes(), 0);
}

TEST(Dataset, FolderWithDatasetJsonTakesItsLabels) {
  Scratch dir;
  put_image(dir / "a/x.png", pattern(4, 4, 3));
  put_image(dir / "b/y.png", pattern(4, 4, 3));
  put(dir / "dataset.json", R"({"labels":[["a/x.png",[0,0,1]],["b/y.png",[1,0,0]]]})");
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(set.num_classes(), 3);
  EXPECT_EQ(set.label(0), 2);
  const Dataset without({.path = dir.path(), .use_labels = false});
  EXPECT_EQ(without.num_classes(), 0);
  EXPECT_EQ(without.label(0), -1);
}

TEST(Dataset, BrokenLabelsAreRejected) {
  const auto refused = [](std::string_view json) { return message_of([&] { parse_labels(json, "set"); }); };
  EXPECT_EQ(refused(R"({"labels":[["a",2]],"classes":["x","y"]})"),
            "set: a label of 2 is out of range: there are 2 classes");
  EXPECT_EQ(refused(R"({"labels":[["a",-1]]})"), "set: a: its label is negative");
  EXPECT_MENTIONS(refused(R"({"labels":[["a",4000000000]]})"), "too large");
  EXPECT_MENTIONS(refused(R"({"labels":[["a",18446744073709551615]]})"), "too large");
  EXPECT_MENTIONS(refused(R"({"labels":[["a",0],["a",0]]})"), "labelled twice");
  EXPECT_MENTIONS(refused(R"({"labels":[["a"]]})"), "not a pair");
  EXPECT_MENTIONS(refused(R"({"labels":7})"), "not a list");
  EXPECT_MENTIONS(refused(R"({"classes":[[[[[[)"), "nested deeper");
  EXPECT_TRUE(parse_labels(R"({"labels":null})", "set").class_names.empty());
}

TEST(Dataset, ImageWithoutALabelIsNamed) {
  Scratch dir;
  put_image(dir / "x.png", pattern(4, 4, 3));
  put_image(dir / "y.png", pattern(4, 4, 3));
  put(dir / "dataset.json", R"({"labels":[["x.png",0]]})");
  EXPECT_MENTIONS(refusal({.path = dir.path()}), "has no label for 1 of 2 images, y.png the first");
}

TEST(Dataset, WrongSizeNamesTheFileAndBothSizes) {
  Scratch dir;
  put_image(dir / "a.png", pattern(8, 8, 3));
  put_image(dir / "b.png", pattern(8, 6, 3));
  EXPECT_MENTIONS(refusal({.path = dir.path()}),
                  "1 of its 2 images are not 8x8: b.png (8x6); sizes: 8x8 (1), 8x6 (1); --resize");
  EXPECT_MENTIONS(refusal({.path = dir.path(), .resolution = 16}),
                  "2 of its 2 images are not 16x16: a.png (8x8), b.png (8x6)");
  const Dataset set({.path = dir.path(), .resolution = 4, .resize = true});
  EXPECT_EQ(set.load(1).width, 4);
  EXPECT_EQ(set.load(1).height, 4);
  const Dataset wide({.path = dir.path(), .width = 8, .height = 2, .resize = true});
  EXPECT_EQ(wide.load(0).height, 2);
}

TEST(Dataset, ChannelsFollowTheRichestImageOrTheWish) {
  Scratch dir;
  put_image(dir / "a.png", pattern(4, 4, 4));
  put_image(dir / "b.png", pattern(4, 4, 1));
  EXPECT_EQ(Dataset({.path = dir.path()}).load(1).channels, 4);
  EXPECT_EQ(Dataset({.path = dir.path(), .channels = 3}).load(0), to_channels(pattern(4, 4, 4), 3));
  EXPECT_MENTIONS(refusal({.path = dir.path(), .channels = 2}), "makes no sense");
}

TEST(Dataset, MirrorDoublesTheSet) {
  Scratch dir;
  const Dataset set({.path = labelled_zip(dir, 5, 2), .mirror = true});
  ASSERT_EQ(set.size(), 10);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(set.load(i + 5), mirror(set.load(i)));
    EXPECT_EQ(set.label(i + 5), set.label(i));
    EXPECT_EQ(set.name(i + 5), set.name(i));
  }
  EXPECT_THROW(set.load(10), ShapeError);
  EXPECT_THROW(set.load(-1), ShapeError);
}

TEST(Dataset, SubsetIsDrawnBySeedAndKeepsLabels) {
  Scratch dir;
  const auto path = labelled_zip(dir, 40, 4);
  const auto names = [&](uint64_t seed) {
    const Dataset set({.path = path, .subset = 10, .seed = seed});
    std::vector<std::string> all;
    for (int64_t i = 0; i < set.size(); ++i) {
      all.push_back(set.name(i));
      EXPECT_EQ(set.label(i), std::stoi(set.name(i).substr(9, 8)) % 4);
    }
    return all;
  };
  const auto one = names(1);
  EXPECT_EQ(one.size(), 10u);
  EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
  EXPECT_EQ(std::set<std::string>(one.begin(), one.end()).size(), 10u);
  EXPECT_EQ(one, names(1));
  EXPECT_NE(one, names(2));
  EXPECT_EQ(Dataset({.path = path, .subset = 40}).size(), 40);
  EXPECT_EQ(refusal({.path = path, .subset = 41}), fmt::format("--subset 41: {} has 40 images", path.string()));
}

// Trained on and left out: no image is both, and with a subset the others may be left out.
TEST(Dataset, HoldoutIsNotTrainedOn) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "data");
  for (int i = 0; i < 40; ++i) save_png(scratch / fmt::format("data/{:02}.png", i), pattern(8, 8, 3, i));
  const std::filesystem::path path = scratch / "data";
  const auto names = [](const Dataset& set) {
    std::set<std::string> all;
    for (int64_t i = 0; i < set.size(); ++i) all.insert(set.name(i));
    return all;
  };
  struct Case {
    int64_t subset;
    Holdout holdout;
    size_t trained, left_out;
  };
  for (const Case& c : {Case{0, {.count = 10}, 30, 10}, Case{0, {.part = 0.25}, 30, 10}, Case{8, {.count = 20}, 8, 20},
                        Case{8, {.part = 0.5}, 8, 20}, Case{0, {.part = 0.001}, 39, 1}}) {
    DatasetOptions o{.path = path, .subset = c.subset, .holdout = c.holdout};
    const auto trained = names(Dataset(o));
    o.held_out = true;
    const auto left_out = names(Dataset(o));
    EXPECT_EQ(trained.size(), c.trained);
    EXPECT_EQ(left_out.size(), c.left_out);
    for (const std::string& name : left_out) EXPECT_FALSE(trained.contains(name)) << name;
  }
  EXPECT_EQ(names(Dataset({.path = path, .subset = 8})),
            names(Dataset({.path = path, .subset = 8, .holdout = {.count = 9}})));
  EXPECT_EQ(refusal({.path = path, .subset = 30, .holdout = {.count = 11}}),
            fmt::format("--holdout 11: {} has 40 images, and --subset trains on 30 of them", path.string()));
  EXPECT_EQ(refusal({.path = path, .holdout = {.count = 40}}),
            fmt::format("--holdout 40: {} has 40 images, and none would be left to train on", path.string()));
  for (const char* text : {"", "-1", "1.5", "many", "0.1x", "nan"})
    EXPECT_THROW(parse_holdout(text), ConfigError) << text;
  EXPECT_EQ(to_string(parse_holdout("0.1")), "0.1");
  EXPECT_EQ(to_string(parse_holdout("500")), "500");
}

TEST(Dataset, ContentHashIsOfPixelsAndTreatment) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "data");
  for (int i = 0; i < 4; ++i) save_png(scratch / fmt::format("data/{:02}.png", i), pattern(8, 8, 3, i));
  const std::filesystem::path path = scratch / "data";
  const std::string before = Dataset({.path = path}).content_hash();
  EXPECT_EQ(Dataset({.path = path}).content_hash(), before);
  EXPECT_NE(Dataset({.path = path, .mirror = true}).content_hash(), before);
  EXPECT_NE(Dataset({.path = path, .subset = 3}).content_hash(), before);
  EXPECT_NE(Dataset({.path = path, .resolution = 4, .resize = true}).content_hash(), before);
  EXPECT_NE(Dataset({.path = path, .channels = 1}).content_hash(), before);
  save_png(path / "02.png", pattern(8, 8, 3, 99));
  EXPECT_NE(Dataset({.path = path}).content_hash(), before);
}

TEST(Dataset, ChosenClassesAreRenumbered) {
  Scratch dir;
  const auto path = labelled_zip(dir, 12, 4);
  const Dataset set({.path = path, .classes = {3, 1}});
  ASSERT_EQ(set.size(), 6);
  EXPECT_EQ(set.class_names(), (std::vector<std::string>{"class 3", "class 1"}));
  EXPECT_EQ(set.name(0), "00000/img00000001.png");
  EXPECT_EQ(set.label(0), 1);
  EXPECT_EQ(set.label(1), 0);
  EXPECT_MENTIONS(refusal({.path = path, .classes = {4}}), "there is no class 4; it has 4");
  EXPECT_MENTIONS(refusal({.path = path, .classes = {1, 1}}), "chosen twice");
}

TEST(Dataset, BrokenImagesAreSkippedAndReported) {
  Scratch dir;
  put_image(dir / "good.png", pattern(4, 4, 3));
  put(dir / "empty.png", "");
  put(dir / "fake.jpg", "this is text");
  put(dir / "photo.webp", "RIFF");
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(set.size(), 1);
  const auto bad = set.bad_images();
  ASSERT_EQ(bad.size(), 3u);
  std::set<std::string> reasons;
  for (const auto& [name, reason] : bad) reasons.insert(name + " | " + reason);
  EXPECT_TRUE(reasons.contains("empty.png | an empty file"));
  EXPECT_TRUE(reasons.contains("fake.jpg | not a PNG, JPEG, WebP or BMP image"));
  EXPECT_TRUE(reasons.contains("photo.webp | not a PNG, JPEG, WebP or BMP image"));
}

TEST(Dataset, ImageFoundBrokenAtLoadIsRemembered) {
  Scratch dir;
  auto png = encode_png(pattern(16, 16, 3));
  png = without_end(png, 20);
  put(dir / "a.png", encode_png(pattern(16, 16, 3)));
  put(dir / "cut.png", png);
  const Dataset set({.path = dir.path()});
  EXPECT_THROW(set.load(1), IoError);
  EXPECT_THROW(set.load(1), IoError);
  ASSERT_EQ(set.bad_images().size(), 1u);
  EXPECT_EQ(set.bad_images()[0], (BadImage{"cut.png", "truncated PNG: pixels are missing"}));
}

TEST(Dataset, ImageThatCannotBeDecodedDecidesNoSize) {
  Scratch dir;
  put(dir / "a.png", without_end(encode_png(pattern(32, 16, 3)), 20));  // first, and of another size
  put(dir / "b.png", encode_png(pattern(16, 16, 3)));
  put(dir / "c.png", without_end(encode_png(pattern(16, 32, 3)), 20));
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(std::tuple(set.size(), set.width(), set.height()), std::tuple(1, 16, 16));
  EXPECT_EQ(set.bad_images().size(), 2u);
}

TEST(Dataset, EmptyAndMissingSetsAreErrors) {
  Scratch dir;
  EXPECT_MENTIONS(refusal({.path = dir.path()}), "there are no images in it");
  EXPECT_MENTIONS(refusal({.path = dir / "none"}), "there is no such file or folder");
  put(dir / "a.zip", "PK no zip at all");
  EXPECT_MENTIONS(refusal({.path = dir / "a.zip"}), "cannot read " + (dir / "a.zip").string() + " as a zip");
  put(dir / "only/x.png", "junk");
  EXPECT_MENTIONS(refusal({.path = dir / "only"}), "none of its 1 images can be read; the first, x.png: not a PNG");
}

TEST(Dataset, ZipBombsAreRefusedBeforeInflating) {
  Scratch dir;
  raw_zip(dir / "a.zip", {{"a.png", std::string(1 << 20, '\0')}}, true);
  const auto claiming = [&](uint32_t size) {  // in the central directory
    std::string zip = read_text(dir / "a.zip");
    for (size_t i = 0; i < 4; ++i) zip[zip.find("PK\x01\x02") + 24 + i] = char(size >> 8 * i);
    put(dir / "b.zip", zip);
    return refusal({.path = dir / "b.zip"});
  };
  EXPECT_MENTIONS(claiming(300u << 20), "claims 314572800 bytes, more than the limit");
  EXPECT_MENTIONS(claiming(200u << 20), "claims to grow from");
  EXPECT_MENTIONS(claiming((1 << 20) + 1), "none of its 1 images can be read");
}

TEST(Dataset, UnsafeAndDamagedZipEntriesAreSkipped) {
  Scratch dir;
  const auto png = encode_png(pattern(4, 4, 3));
  const std::string good(reinterpret_cast<const char*>(png.data()), png.size());
  raw_zip(dir / "a.zip", {{"../../up.png", good}, {"b.png", good}, {"c.png", good}}, false);
  std::string zip = read_text(dir / "a.zip");
  zip[zip.find("b.png") + 5 + 40] ^= 1;  // inside the first data of b.png
  put(dir / "a.zip", zip);
  const Dataset set({.path = dir / "a.zip"});
  ASSERT_EQ(set.size(), 1);
  EXPECT_EQ(set.load(0), pattern(4, 4, 3));
  ASSERT_EQ(set.bad_images().size(), 2u);
  EXPECT_MENTIONS(set.bad_images()[0].second, "the zip entry has an unsafe name");
  EXPECT_MENTIONS(set.bad_images()[1].second, "damaged: its checksum");
}

TEST(Dataset, NamesInZipsAndTheirLabelsAreNormalised) {
  Scratch dir;
  const auto png = encode_png(pattern(4, 4, 3));
  const std::string good(reinterpret_cast<const char*>(png.data()), png.size());
  raw_zip(dir / "a.zip",
          {{"./x/a.png", good},
           {"/x/b.png", good},
           {"x\\c.png", good},
           {"./x\\dataset.json", R"({"labels":[["a.png",0],["/b.png",1],[".\\c.png",2]]})"}},
          false);
  const Dataset set({.path = dir / "a.zip"});
  ASSERT_EQ(set.size(), 3);
  EXPECT_EQ(set.num_classes(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(set.name(i), fmt::format("x/{}.png", "abc"[set.label(i)]));
}

TEST(Dataset, TruncatedZipsAreRefusedAtEveryLength) {
  Scratch dir;
  const auto whole = read_bytes(labelled_zip(dir, 2, 2));
  ASSERT_EQ(Dataset(open_zip_bytes(whole, "x"), {}).size(), 2);
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_THROW(Dataset(open_zip_bytes({whole.begin(), whole.begin() + std::ptrdiff_t(n)}, "x"), {}), IoError) << n;
}

TEST(Dataset, EpochOrderIsAPureFunctionOfSeedAndEpoch) {
  const auto order = Dataset::epoch_order(100, 5, 3);
  EXPECT_EQ(order, Dataset::epoch_order(100, 5, 3));
  EXPECT_NE(order, Dataset::epoch_order(100, 5, 4));
  EXPECT_NE(order, Dataset::epoch_order(100, 6, 3));
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(sorted[size_t(i)], i);
  // Pinned: a change would silently break the resuming of every run.
  EXPECT_EQ(Dataset::epoch_order(5, 0, 0), (std::vector<int64_t>{0, 4, 1, 2, 3}));
}

TEST(ZipWriter, UnfinishedWriterLeavesNoFile) {
  Scratch dir;
  { ZipWriter(dir / "a.zip").add(pattern(4, 4, 3)); }
  EXPECT_EQ(dir.count(), 0u);
}

TEST(ZipWriter, ManyEntriesUseZip64) {
  Scratch dir;
  ZipWriter zip(dir / "a.zip");
  const Image dot(1, 1, 1);
  for (int i = 0; i < 66'000; ++i) zip.add(dot);
  zip.finish();
  EXPECT_EQ(open_zip(dir / "a.zip")->entries().size(), 66'001u);
}

TEST(ZipWriter, HalfLabelledSetsKeepWhatTheyHave) {
  Scratch dir;
  ZipWriter zip(dir / "a.zip");
  zip.add(pattern(4, 4, 3), 1);
  zip.add(pattern(4, 4, 3));
  zip.add(pattern(4, 4, 3), R"([0.5,2])");
  zip.finish();
  EXPECT_EQ(read_json(dir / "a.zip"), R"({"labels":[["00000/img00000000.png",1],["00000/img00000002.png",[0.5,2]]]})");
}

}  // namespace
}  // namespace firn
