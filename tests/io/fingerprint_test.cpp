// Fingerprints: the same set anywhere, and what differs between two.
#include "io/fingerprint.h"

#include <zip.h>

#include <algorithm>

#include "io/file_kind.h"
#include "tests/training/training_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

Fingerprint of(const fs::path& path, bool labels = true) {
  return Dataset({.path = path, .use_labels = labels}).fingerprint();
}

struct FingerprintTest : testing::Test {
  Scratch scratch;
  fs::path data = write_images(scratch / "data", 8, 8, 3, 2);
  Fingerprint before = of(data);
};
using FingerprintOf = FingerprintTest;

TEST_F(FingerprintOf, DoesNotDependOnThePlaceOrThePacking) {
  fs::create_directories(scratch / "elsewhere");
  fs::copy(data, scratch / "elsewhere/set", fs::copy_options::recursive);
  EXPECT_EQ(of(scratch / "elsewhere/set"), before);
  for (const char* outer : {"", "holiday photos/"}) {
    zip_t* zip = zip_open((scratch / "set.zip").c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const auto& entry : fs::recursive_directory_iterator(data))
      if (entry.is_regular_file())
        zip_file_add(zip, (outer + entry.path().lexically_relative(data).string()).c_str(),
                     zip_source_file(zip, entry.path().c_str(), 0, -1), ZIP_FL_ENC_UTF_8);
    ASSERT_EQ(zip_close(zip), 0);
    EXPECT_EQ(of(scratch / "set.zip"), before) << outer;
  }
  EXPECT_EQ(before.images, 8);
}

TEST_F(FingerprintOf, TellsOtherPicturesOfTheSameNames) {
  save_png(data / "class0/0002.png", pattern(8, 8, 1));
  EXPECT_EQ(differences(before, of(data)), std::vector<std::string>{"its files have other sizes"});
}

TEST_F(FingerprintOf, TellsRenamedImagesAndClasses) {
  fs::rename(data / "class0/0002.png", data / "class0/0001.png");
  EXPECT_EQ(differences(before, of(data)), std::vector<std::string>{"its images have other names"});
  fs::rename(data / "class0/0001.png", data / "class0/0002.png");
  fs::remove(data / "class1/0007.png");
  before = of(data);
  fs::rename(data / "class0", data / "class2");  // which comes behind class1
  for (const char* part :
       {"its classes have other names", "its images have other names", "its images have other labels"})
    EXPECT_EQ(std::ranges::count(differences(before, of(data)), part), 1) << part;
}

TEST_F(FingerprintOf, TellsAnotherNumberOfImages) {
  fs::remove(data / "class0/0002.png");
  EXPECT_EQ(differences(before, of(data)), std::vector<std::string>{"it has 7 images, not 8"});
}

TEST_F(FingerprintOf, LabelsThatAreNotReadDoNotCount) {
  EXPECT_NE(of(data, false).classes, before.classes);
  EXPECT_EQ(of(data, false).names, before.names);
}

TEST(FileKind, IsKnownByContent) {
  const auto kind = [](std::string_view text) { return std::string(file_kind(std::as_bytes(std::span(text)))); };
  using namespace std::string_view_literals;
  EXPECT_MENTIONS(kind("\x80\x04\x95\x00\x01"sv), "pickle");
  EXPECT_MENTIONS(kind("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19."sv), "PyTorch");
  EXPECT_MENTIONS(kind("PK\3\4\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl"sv),
                  "PyTorch");
  EXPECT_MENTIONS(kind("PK\3\4\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0weights.npy"sv), "NumPy");
  EXPECT_MENTIONS(kind("PK\3\4"sv), "zip");
  EXPECT_MENTIONS(kind("\x89HDF\r\n\x1a\n"sv), "HDF5");
  EXPECT_MENTIONS(kind("\x08\x07\x12\x07pytorch"sv), "ONNX");
  EXPECT_MENTIONS(kind("\n<!DOCTYPE html><html>"sv), "web page");
  EXPECT_MENTIONS(kind("version https://git-lfs.github.com/spec/v1\n"sv), "Git LFS");
  EXPECT_MENTIONS(kind("\x89PNG\r\n\x1a\n"sv), "image");
  EXPECT_EQ(kind("hello, world"), "text");
  EXPECT_EQ(kind("\x01\x02\x03\x04\x05\x06\x07\x08"), "");
  EXPECT_EQ(kind(""), "text");
}

}  // namespace
}  // namespace firn
