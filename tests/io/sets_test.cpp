// Sets as their owners have them: odd files, odd folders, odd images, and machines that fail.
#include <sys/stat.h>

#include "io/dataset.h"
#include "io/image_source.h"
#include "io/loader.h"
#include "io/zip_writer.h"
#include "tests/io/image_files.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

void put_image(const fs::path& path, const Image& image) { put(path, encode_png(image)); }

template <class Kind = Error>
std::string refusal(const DatasetOptions& options) {
  return message_of<Kind>([&] { Dataset{options}; });
}

std::string notes_of(const Dataset& set) {
  std::string all;
  for (const std::string& note : set.notes()) all += note + "\n";
  return all;
}

TEST(Sets, OuterFolderIsStrippedAndLooseImagesHaveNoClass) {
  Scratch dir;
  for (const char* name : {"photos/10/a.png", "photos/2/b.png", "photos/2/c.png", "photos/loose.png"})
    put_image(dir / name, pattern(4, 4, 3));
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(set.class_names(), (Names{"2", "10"}));
  EXPECT_EQ(set.class_counts(), (std::vector<int64_t>{2, 1}));
  EXPECT_TRUE(set.classes_are_folders());
  EXPECT_EQ(std::pair(set.name(0), set.label(0)), std::pair(std::string("photos/10/a.png"), 1));
  EXPECT_EQ(notes_of(set),
            "1 of the images lie beside the class folders and are left out: photos/loose.png\n"
            "the class called 2 has number 0: classes are numbered from 0 without gaps\n");
  EXPECT_EQ(Dataset({.path = dir.path(), .use_labels = false}).size(), 4);
  EXPECT_EQ(Dataset({.path = dir.path(), .all_labels = false}).size(), 4);
  put(dir / "photos/3/c.pdf", "no image");
  EXPECT_MENTIONS(notes_of(Dataset({.path = dir.path()})), "folders that are no classes therefore: 3");
  put(dir / "photos/dataset.json", R"({"labels":[["2/b.png",-1]]})");
  EXPECT_MENTIONS(refusal({.path = dir.path()}), "dataset.json cannot be used");
}

TEST(Sets, BytesOfAFolderNameDoNotReachMessagesAboutLabels) {
  Scratch dir;
  put_image(dir / "\x1b[31m/a.png", pattern(4, 4, 3));
  put(dir / "\x1b[31m/dataset.json", "{");
  const std::string notes = notes_of(Dataset({.path = dir.path(), .all_labels = false}));
  EXPECT_MENTIONS(notes, "dataset.json cannot be used");
  EXPECT_EQ(notes.find('\x1b'), notes.npos);
}

TEST(Sets, OrientationBehindThePixelsOfALargePngCounts) {
  Scratch dir;
  Image noise(48, 64, 3);
  uint32_t state = 1;
  for (uint8_t& v : noise.pixels) v = uint8_t((state = state * 1664525 + 1013904223) >> 24);
  FileBytes png = encode_png(noise);
  ASSERT_GT(png.size(), 8000u);  // more than a first look takes in
  const FileBytes exif = png_chunk("eXIf", exif_of(6));
  png.insert(png.end() - 12, exif.begin(), exif.end());
  put(dir / "a.png", png);
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(std::pair(set.width(), set.height()), std::pair(64, 48));
  EXPECT_EQ(set.load(0).width, 64);
}

TEST(Sets, LabelsOfOtherFilesAreNoClasses) {
  Scratch dir;
  put_image(dir / "a.png", pattern(4, 4, 3));
  put(dir / "dataset.json", R"({"labels": [["b.png", 0], ["c.png", 1]]})");
  const Dataset set({.path = dir.path(), .all_labels = false});
  EXPECT_EQ(set.num_classes(), 0);
  EXPECT_MENTIONS(notes_of(set), "dataset.json labels other files");
}

TEST(Sets, EmptyFoldersAreNoClassesAndNamed) {
  Scratch dir;
  for (const char* name : {"train/0/a.png", "train/1/b.png", "val/0/c.png"}) put_image(dir / name, pattern(4, 4, 3));
  fs::create_directories(dir / "train/2");
  fs::create_directories(dir / "train/10/deeper");
  for (const char* folder : {"train", "."}) {
    const Dataset set({.path = dir.path(), .folder = folder});
    EXPECT_EQ(set.class_names(), (Names{"0", "1"})) << folder;
    EXPECT_EQ(notes_of(set), "no image can be read in folders that are no classes therefore: 2, 10\n") << folder;
  }
}

TEST(Sets, FilesThatArePassedOverAreCountedByKind) {
  Scratch dir;
  put_image(dir / "a.jfif", pattern(4, 4, 3));
  put_image(dir / "no extension", pattern(4, 4, 3));
  put_image(dir / "@eaDir/thumb.png", pattern(9, 9, 3));
  put(dir / "phone.jpg", std::string_view("\0\0\0\x18"
                                          "ftypheic\0\0\0\0mif1heic",
                                          24));
  for (const char* name : {"1.txt", "2.txt", "Thumbs.db", ".hidden.png"}) put(dir / name, "text");
  fs::create_symlink(dir / "nowhere", dir / "gone.png");
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(notes_of(set),
            "passed over: 2 .txt, 1 HEIC image, 1 broken link, 1 hidden file, 1 system file, 1 system folder\n");
}

TEST(Sets, OutputsOfRunsAreNotTrainedOn) {
  Scratch dir;
  put_image(dir / "a.png", pattern(4, 4, 3));
  put_image(dir / "runs/00000-x/reals.png", pattern(64, 64, 3));
  put_image(dir / "runs/00000-x/fakes-000001.png", pattern(64, 64, 3));
  put(dir / "runs/00000-x/training_options.json", "{}");
  const Dataset set({.path = dir.path()});
  EXPECT_EQ(set.size(), 1);
  EXPECT_EQ(notes_of(set), "passed over: 3 files of earlier runs\n");
  EXPECT_MENTIONS(refusal({.path = dir / "runs/00000-x"}), "no images in it (passed over: 3 files of earlier runs)");
}

TEST(Sets, TrainAndValAreAskedAbout) {
  Scratch dir;
  for (const char* name : {"train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png"})
    put_image(dir / name, pattern(4, 4, 3));
  EXPECT_EQ(refusal<ConfigError>({.path = dir.path(), .use_labels = false}),
            dir.path().string() + ": its folders are train and val; --folder train takes one of them, --folder . all");
  EXPECT_EQ(Dataset({.path = dir.path(), .folder = "train"}).size(), 2);
  const Dataset all({.path = dir.path(), .folder = "."});
  EXPECT_EQ(all.class_counts(), (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(Dataset({.path = dir.path(), .folder_classes = true}).class_names(), (Names{"train", "val"}));
  EXPECT_MENTIONS(refusal({.path = dir.path(), .folder = "test"}), "has no folder test");
}

TEST(Sets, CommonestSizeAndRichestKindDecide) {
  Scratch dir;
  put_image(dir / "a.png", pattern(8, 6, 1));
  for (const char* name : {"b.png", "c.png"}) put_image(dir / name, pattern(8, 8, 3));
  const Dataset set({.path = dir.path(), .resize = true});
  EXPECT_EQ(std::tuple(set.width(), set.height(), set.channels()), std::tuple(8, 8, 3));
  EXPECT_EQ(notes_of(set),
            "1 of 3 images are not 8x8 and are resized: a.png (8x6)\n"
            "1 of 3 images have no colour and become RGB: a.png\n");
  const Dataset narrow({.path = dir.path(), .width = 4, .resize = true});
  EXPECT_EQ(std::pair(narrow.width(), narrow.height()), std::pair(4, 4));
}

TEST(Sets, PaddingCropsNothing) {
  Scratch dir;
  put_image(dir / "a.png", Image(4, 2, 3, 7));
  put_image(dir / "b.png", Image(2, 4, 3, 7));
  const Dataset set({.path = dir.path(), .background = {1, 2, 3}, .pad = true});
  EXPECT_EQ(std::pair(set.width(), set.height()), std::pair(4, 4));
  const Image image = set.load(0);
  EXPECT_EQ(Names({fmt::format("{} {} {}", image.at(0, 0)[0], image.at(0, 0)[1], image.at(0, 0)[2])}), Names{"1 2 3"});
  EXPECT_EQ(image.at(0, 1)[2], 7);
  const Dataset fitted({.path = dir.path(), .resolution = 8, .resize = true, .pad = true});
  EXPECT_EQ(fitted.load(1).at(0, 4)[0], 255);
  EXPECT_EQ(fitted.load(1).at(4, 0)[0], 7);
}

TEST(Sets, FourChannelsOnlyWhereSomethingIsTransparent) {
  Scratch dir;
  Image image = pattern(4, 4, 4);
  for (size_t i = 3; i < image.pixels.size(); i += 4) image.pixels[i] = 255;
  put_image(dir / "a.png", image);
  EXPECT_EQ(Dataset({.path = dir.path()}).channels(), 3);
  EXPECT_EQ(notes_of(Dataset({.path = dir.path()})), "");
  image.pixels[3] = 0;
  put_image(dir / "b.png", image);
  EXPECT_EQ(Dataset({.path = dir.path()}).channels(), 4);
  const Dataset laid({.path = dir.path(), .channels = 3, .background = {9, 8, 7}});
  EXPECT_EQ(laid.load(1).at(0, 0)[1], 8);
  EXPECT_MENTIONS(notes_of(laid), "2 of 2 images have an alpha channel or a colour key: they are laid over #090807");
}

TEST(Sets, PartlyLabelledSetsCanBeLookedAt) {
  Scratch dir;
  for (const char* name : {"x.png", "y.png"}) put_image(dir / name, pattern(4, 4, 3));
  put(dir / "dataset.json", R"({"labels":[["./x.png",2]]})");
  const Dataset set({.path = dir.path(), .all_labels = false});
  EXPECT_EQ(std::tuple(set.size(), set.label(0), set.label(1)), std::tuple(2, 2, -1));
  EXPECT_MENTIONS(notes_of(set), "labels: dataset.json has no label for 1 of 2 images, y.png the first");
  EXPECT_MENTIONS(notes_of(set), "2 of 3 classes have no images: 0 (class 0), 1 (class 1)");
  put(dir / "dataset.json", R"({"labels":[["x.png",[0.5,2]],["y.png",[1,1]]]})");
  const Dataset vectors({.path = dir.path()});
  EXPECT_EQ(std::pair(vectors.num_classes(), vectors.label_json(0)), std::pair(0, std::string("[0.5,2]")));
  EXPECT_EQ(vectors.label_problem(), "its labels are vectors of 2 numbers, not classes");
}

// Reading fails for one image, once the set is open.
class FailingSource : public ImageSource {
 public:
  FailingSource() : ImageSource("memory") { entries_ = {{"a.png", ""}, {"b.png", ""}, {"c.png", ""}}; }
  mutable std::atomic<bool> failing = false;

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    if (failing && entry == 1) throw SystemError("cannot read b.png: Input/output error");
    auto bytes = encode_png(pattern(4, 4, 3, int(entry)));
    bytes.resize(std::min(bytes.size(), size_t(limit)));
    return bytes;
  }
};

TEST(Sets, FailureOfTheSystemIsNoBrokenImage) {
  auto source = std::make_unique<FailingSource>();
  const FailingSource& failing = *source;
  const auto set = std::make_shared<Dataset>(std::move(source), DatasetOptions{});
  failing.failing = true;
  Loader loader(set, {.batch = 3, .threads = 2});
  EXPECT_EQ(message_of<SystemError>([&] { loader.next(); }), "cannot read b.png: Input/output error");
  EXPECT_TRUE(set->bad_images().empty());
  auto again = std::make_unique<FailingSource>();
  again->failing = true;
  EXPECT_THROW(Dataset(std::move(again), {}), SystemError);  // at open, too
}

TEST(Sets, FolderWithoutPermissionIsNamed) {
  Scratch dir;
  put_image(dir / "open/a.png", pattern(4, 4, 3));
  put_image(dir / "closed/b.png", pattern(4, 4, 3));
  ::chmod((dir / "closed").c_str(), 0);
  const bool all_is_allowed = ::geteuid() == 0;
  const std::string message = refusal<SystemError>({.path = dir.path()});
  EXPECT_EQ(message,
            all_is_allowed ? "no error" : fmt::format("cannot read {}: Permission denied", (dir / "closed").string()));
  ::chmod((dir / "closed").c_str(), 0700);
}

TEST(Sets, ZipThatIsCutUnderARunEndsIt) {
  Scratch dir;
  ZipWriter zip(dir / "a.zip");
  for (int i = 0; i < 4; ++i) zip.add(pattern(16, 16, 3, i));
  zip.finish();
  const Dataset set({.path = dir / "a.zip"});
  fs::resize_file(dir / "a.zip", 400);
  EXPECT_EQ(message_of<SystemError>([&] { set.load(3); }),
            (dir / "a.zip").string() + " was changed or replaced while it was in use");
  EXPECT_TRUE(set.bad_images().empty());
  fs::remove(dir / "a.zip");
  EXPECT_MENTIONS(message_of<SystemError>([&] { set.load(0); }), "No such file");
}

TEST(Sets, OverlappingZipEntriesAreRefused) {
  Scratch dir;
  ZipWriter zip(dir / "a.zip");
  zip.add(pattern(16, 16, 3, 1));
  zip.add(pattern(16, 16, 3, 2));
  zip.finish();
  std::string bytes = read_text(dir / "a.zip");
  const size_t first = bytes.find("PK\x01\x02"), second = bytes.find("PK\x01\x02", first + 4);
  bytes.replace(second + 42, 4, bytes, first + 42, 4);  // both at one place
  put(dir / "a.zip", bytes);
  EXPECT_MENTIONS(refusal({.path = dir / "a.zip"}), "none of its 2 images can be read");
  EXPECT_MENTIONS(refusal({.path = dir / "a.zip"}), "the zip entry overlaps another one");
}

}  // namespace
}  // namespace firn
