// What the names in a set mean.
#include "io/layout.h"

#include <algorithm>

#include "io/labels.h"
#include "io/zip_directory.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

using Names = std::vector<std::string>;

TEST(Layout, NamesAreNormalised) {
  EXPECT_EQ(normalised("./a//b.png"), "a/b.png");
  EXPECT_EQ(normalised("/a\\b.png"), "a/b.png");
  EXPECT_EQ(normalised(".\\."), "");
  EXPECT_TRUE(leaves_its_root("a/../b"));
  EXPECT_FALSE(leaves_its_root("a/..b"));
}

TEST(Layout, SystemNamesAreKnownInAnyFolder) {
  for (const char* name :
       {"__MACOSX/._a.png", "a/@eaDir/b.png", "Thumbs.db", "a/.DS_Store", "#recycle/x.png", "$RECYCLE.BIN/x.png",
        "System Volume Information/x", "lost+found/x", ".git/x", "DESKTOP.INI"})
    EXPECT_EQ(system_path(name), "system") << name;
  EXPECT_EQ(system_path("a/.cache/x.png"), "hidden");
  EXPECT_EQ(system_path("a/b..png"), "");
  EXPECT_EQ(system_path("../b.png"), "");
}

TEST(Layout, NumbersSortAsNumbers) {
  Names names{"10", "img2", "2", "img10", "img1", "1", "02"};
  std::ranges::sort(names, natural_less);
  EXPECT_EQ(names, (Names{"1", "02", "2", "10", "img1", "img2", "img10"}));
}

TEST(Layout, OuterFoldersAreCommonToAll) {
  EXPECT_EQ(common_folder(Names{"a/b/1.png", "a/b/2.png"}), "a/b/");
  EXPECT_EQ(common_folder(Names{"a/b/1.png", "a/bc/2.png"}), "a/");
  EXPECT_EQ(common_folder(Names{"a/b.png", "dataset.json"}), "");
  EXPECT_EQ(common_folder(Names{}), "");
}

TEST(Layout, NumberedFoldersAreClassesUnlessTheyArePartsOfOneSet) {
  const auto shards = [](const Names& names) { return folders_of(names, {}).shards; };
  EXPECT_TRUE(shards({"00000/00012.png", "01000/01999.png", "02000/02000.png"}));  // FFHQ
  EXPECT_TRUE(shards({"01000/01999.png", "05000/05001.png"}));                     // a part of it
  EXPECT_TRUE(shards({"00000/img00000999.png", "00001/img00001000.png"}));         // dataset_tool
  EXPECT_FALSE(shards({"00000/00000_00012.png", "00001/00001_00012.png"}));        // traffic signs
  EXPECT_FALSE(shards({"0/00000.png", "1/00001.png"}));                            // digits
  EXPECT_FALSE(shards({"00000/00012.png", "01000/01999.png", "other/3.png"}));
  EXPECT_EQ(folders_of(Names{"2/a.png", "10/a.png", "1/a.png"}, {}).classes, (Names{"1", "2", "10"}));
  EXPECT_EQ(folders_of(Names{"2/a.png", "10/a.png"}, {.by_number = false}).classes, (Names{"10", "2"}));
  EXPECT_EQ(folders_of(Names{"00000/00012.png", "01000/01999.png"}, {.always_classes = true}).classes.size(), 2u);
}

TEST(Layout, SplitsNeedATrainingPart) {
  EXPECT_EQ(folders_of(Names{"train/a.png", "val/b.png"}, {}).splits, (Names{"train", "val"}));
  EXPECT_TRUE(folders_of(Names{"test/a.png", "val/b.png"}, {}).splits.empty());
  EXPECT_TRUE(folders_of(Names{"train/a.png", "bus/b.png"}, {}).splits.empty());
}

TEST(Layout, RunFoldersShowWhatTheyAre) {
  const Names names{"r/0/training_options.json", "r/0/reals.png", "r/1/training_options.json", "p/fakes-000001.png"};
  EXPECT_EQ(run_folders(names), std::set<std::string>{"r/0/"});
  EXPECT_TRUE(lies_in("r/0/a/b.png", run_folders(names)));
}

TEST(Labels, ThoseThatAreNoClassesAreKeptAndDescribed) {
  const auto kind = [](std::string_view json) { return parse_labels(json, "set").kind; };
  EXPECT_EQ(kind(R"({"labels":[["a",[0.5,1,2]],["b",[1,1,0]]]})"), "vectors of 3 numbers");
  EXPECT_EQ(kind(R"({"labels":[["a",1.5]]})"), "numbers that are no classes");
  EXPECT_EQ(parse_labels(R"({"labels":[["a",3.0]]})", "x").of.at("a"), 3);
  EXPECT_EQ(kind(R"({"labels":[["a","cat"],["b",true]]})"), "texts, yes or no");
  EXPECT_EQ(parse_labels(R"({"labels":[["./a\\b",[0.5,1]]]})", "set").others.at("a/b"), "[0.5,1]");
  EXPECT_TRUE(parse_labels(R"({"labels":[["a",[]],["b",null]]})", "set").class_names.empty());
  EXPECT_EQ(parse_labels(R"({"labels":[["a",[0,1]],["b",null]]})", "set").of.size(), 1u);
  EXPECT_MENTIONS(message_of([] { parse_labels(R"({"labels":[["../a",0]]})", "set"); }), "unsafe name");
}

TEST(ZipDirectory, EntriesThatShareBytesAreFound) {
  EXPECT_EQ(overlapping({{0, 10, 50}, {50, 10, 50}, {100, 1, 40}}), (std::vector<bool>{false, false, false}));
  EXPECT_EQ(overlapping({{0, 90, 130}, {50, 10, 50}, {140, 1, 40}, {120, 1, 5}}),
            (std::vector<bool>{true, true, false, true}));
  EXPECT_EQ(overlapping({{0, 10, 50}, {0, 10, 50}}), (std::vector<bool>{true, true}));
}

}  // namespace
}  // namespace firn
