// gan-data from outside.
#include <fstream>

#include "io/dataset.h"
#include "tests/tools/tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanData : testing::Test {
  Ran data(const std::string& arguments) { return tool("gan-data", arguments); }
  std::string at(const char* name) { return (scratch / name).string(); }
  Scratch scratch;
};

TEST_F(GanData, InspectCountsAndListsWhatIsBroken) {
  write_images(scratch / "set", 6, 8, 3, 2);
  save_png(scratch / "set/class1/odd.png", pattern(16, 8, 3));
  std::vector<std::byte> cut = read_bytes(scratch / "set/class0/0000.png");
  cut.resize(cut.size() - 20);  // the header is whole
  std::ofstream(at("set/class0/0000.png"), std::ios::binary)
      .write(reinterpret_cast<const char*>(cut.data()), std::streamsize(cut.size()));
  const Ran ran = data(fmt::format("inspect {} --sheet {}", at("set"), at("sheet.png")));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "6 images");
  EXPECT_MENTIONS(ran.output, "8x8 (5), 16x8 (1)");
  EXPECT_MENTIONS(ran.output, "class0: 2 images");
  EXPECT_MENTIONS(ran.output, "broken: 1 files");
  EXPECT_MENTIONS(ran.output, "class0/0000.png");
  EXPECT_GT(load_image(at("sheet.png")).width, 64);
}

TEST_F(GanData, ConvertCropsResizesAndKeepsLabels) {
  write_images(scratch / "set", 6, 12, 3, 3);
  const Ran ran = data(fmt::format("convert {} {} --resolution 8 --resize --classes 2,0", at("set"), at("set.zip")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const Dataset set({.path = at("set.zip"), .use_labels = true});
  EXPECT_EQ(set.size(), 4);
  EXPECT_EQ(std::pair(set.width(), set.num_classes()), std::pair(8, 2));
  const Ran again = data(fmt::format("convert {} {} --resolution 9", at("set"), at("no.zip")));
  EXPECT_EQ(again.code, 1);
  EXPECT_MENTIONS(again.output, "--resize crops and resizes");
  EXPECT_FALSE(fs::exists(scratch / "no.zip"));
}

TEST_F(GanData, ConvertShowsTheClassesAndNeverFailsOnLabels) {
  write_images(scratch / "set", 5, 8, 3, 2);
  const Ran table = data(fmt::format("convert {} {}", at("set"), at("set.zip")));
  EXPECT_EQ(table.code, 0) << table.output;
  EXPECT_MENTIONS(table.output, "   0  class0: 3 images\n     1  class1: 2 images\n");
  for (const auto& [json, told, classes] :
       {std::tuple{R"({"labels":[["class0/0000.png",[0.5,1]]]})", "its labels are vectors of 2 numbers, not classes",
                   0},
        {R"({"labels":[["class0/0000.png","cat"]]})", "its labels are texts, not classes", 0},
        {R"({"labels":[["class0/0000.png",2]]})", "2 of 3 classes have no images: 0 (class 0), 1 (class 1)", 3},
        {R"({"labels":[["class0/0000.png",-1]]})", "cannot be used: class0/0000.png: its label is negative", 2}}) {
    write_text(scratch / "set/dataset.json", json);
    for (const std::string& command :
         {fmt::format("inspect {}", at("set")), fmt::format("convert {} {}", at("set"), at("set.zip"))}) {
      const Ran ran = data(command);
      EXPECT_EQ(ran.code, 0) << ran.output;
      EXPECT_MENTIONS(ran.output, told);
    }
    EXPECT_EQ(Dataset({.path = at("set.zip"), .all_labels = false}).num_classes(), classes);
    ASSERT_EQ(data(fmt::format("convert {} {} --no-labels", at("set"), at("set.zip"))).code, 0);
    EXPECT_EQ(Dataset({.path = at("set.zip")}).label_json(0), "");
  }
}

TEST_F(GanData, ConvertTellsSizesThatCannotBeTrained) {
  write_images(scratch / "set", 2, 20, 3);
  const Ran told = data(fmt::format("convert {} {}", at("set"), at("set.zip")));
  EXPECT_EQ(told.code, 0);
  EXPECT_MENTIONS(told.output, "gan-train takes no 20x20; the nearest are 16x16 and 32x32");
  EXPECT_MENTIONS(told.output, "--pad for 32x32");
  ASSERT_EQ(data(fmt::format("convert {} {} --pad --background black", at("set"), at("set.zip"))).code, 0);
  const Dataset set({.path = at("set.zip")});
  EXPECT_EQ(std::tuple(set.width(), set.height(), set.load(0).at(0, 0)[0]), std::tuple(32, 32, 0));
  EXPECT_EQ(set.load(0).at(6, 6)[1], load_image(scratch / "set/class0/0000.png").at(0, 0)[1]);
}

TEST_F(GanData, SheetInsideItsSetIsRefused) {
  write_images(scratch / "set", 2, 8, 3);
  const Ran ran = data(fmt::format("inspect {0} --sheet {0}/class0/../sheet.png", at("set")));
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "would become an image of the set");
  EXPECT_EQ(ran.lines(), 1);
}

TEST_F(GanData, ImportsIdxFiles) {
  const char images[] = "\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x0a\x0b\x0c\x0d";  // 2 images of 1x2
  const char labels[] = "\0\0\x08\x01\0\0\0\x02\x01\0";
  std::ofstream(at("images"), std::ios::binary).write(images, sizeof images - 1);
  std::ofstream(at("labels"), std::ios::binary).write(labels, sizeof labels - 1);
  ASSERT_EQ(data(fmt::format("idx {} {} {} --pad-to 4", at("images"), at("labels"), at("idx.zip"))).code, 0);
  const Dataset set({.path = at("idx.zip"), .use_labels = true});
  EXPECT_EQ(std::tuple(set.size(), set.width(), set.channels(), set.label(0)), std::tuple(2, 4, 1, 1));
}

TEST_F(GanData, MontageSetsPicturesSideBySide) {
  save_png(scratch / "a.png", Image(8, 8, 3, 10));
  ASSERT_EQ(data(fmt::format("montage {} 'A={}' 'B={}'", at("m.png"), at("a.png"), at("a.png"))).code, 0);
  EXPECT_GT(load_image(at("m.png")).width, 16);
}

// The first column is the images; at p 0 so are all others, up to the roundings of a warp.
TEST_F(GanData, AugmentShowsWhatDSees) {
  write_images(scratch / "set", 3, 16, 3);
  const auto sheet = [&](const char* name, const std::string& more) {
    const Ran ran = data(fmt::format("augment {} {} --images 2 --draws 4 {}", at("set"), at(name), more));
    EXPECT_EQ(ran.code, 0) << ran.output;
    return load_image(at(name));
  };
  const Image still = sheet("still.png", "-p 0"), one = sheet("one.png", "-p 1 --augpipe bgcfnc --seed 3"),
              again = sheet("again.png", "-p 1 --augpipe bgcfnc --seed 3"), other = sheet("other.png", "-p 1 --seed 4"),
              diff = sheet("diff.png", "--aug diffaug-cutout");
  EXPECT_EQ(one, again);
  EXPECT_NE(one, other);
  EXPECT_EQ(std::pair(still.width, still.height), std::pair(5 * 16 + 4 * 2, 2 * 16 + 2));
  int changed = 0, cut = 0;
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 16; ++x) {
      EXPECT_NEAR(*still.at(x + 54, y), *still.at(x, y), 1);
      changed += *one.at(x + 54, y) != *one.at(x, y);
      cut += *diff.at(x + 54, y) == 128 && *diff.at(x, y) != 128;
    }
  EXPECT_GT(changed, 100);
  EXPECT_GT(cut, 10);
}

TEST_F(GanData, ASetIsNotReplacedByWhatIsMadeFromIt) {
  write_images(scratch / "set", 2, 8, 3, 2);
  ASSERT_EQ(data(fmt::format("convert {} {}", at("set"), at("set.zip"))).code, 0);
  const auto before = read_bytes(scratch / "set.zip");
  const Ran ran = data(fmt::format("convert {0} {0} --no-labels", at("set.zip")));
  EXPECT_EQ(ran.code, 2);
  EXPECT_MENTIONS(ran.output, "which it is made from");
  EXPECT_EQ(read_bytes(scratch / "set.zip"), before);
}

TEST_F(GanData, NumbersThatMakeNoSenseAreToldShortly) {
  for (const char* option : {"--subset -1", "--seed -1", "--max-images 0", "--width 99999"}) {
    const Ran ran = data(fmt::format("convert /no/such/set x.zip {}", option));
    EXPECT_EQ(ran.code, 2) << option;
    EXPECT_MENTIONS(ran.output, "expected a whole number from");
    EXPECT_LT(ran.output.size(), 150u) << ran.output;
  }
}

TEST_F(GanData, MisuseIsOneLine) {
  for (const auto& [arguments, code] : {std::pair{"", 2},
                                        {"inspect /no/such/set", 1},
                                        {"montage x.png no-title", 2},
                                        {"augment /no/such/set x.png", 2},
                                        {"augment /no/such/set x.png -p 0.5 --augpipe bgd", 2},
                                        {"augment /no/such/set x.png -p 2", 2},
                                        {"augment /no/such/set x.png --aug noaug", 2},
                                        {"augment /no/such/set x.png --aug diffaug-cutout -p 1", 2},
                                        {"augment /no/such/set x.png -p 0.5", 1},
                                        {"convert /no/such/set x.zip --channels 2", 2},
                                        {"convert /no/such/set x.zip --background puce", 2}}) {
    const Ran ran = data(arguments);
    EXPECT_EQ(ran.code, code) << arguments << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
  }
}

}  // namespace
}  // namespace firn
