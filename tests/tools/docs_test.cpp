// What the docs say that programs can tell: the table of options, and the program that CONTRIBUTING.md explains.
#include <fstream>
#include <sstream>

#include "tests/tools/tools_support.h"

namespace firn {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

TEST(Docs, TheTableOfOptionsIsThatOfTheRows) {
  const Ran listed = tool("gan-train", "--list-options");
  ASSERT_EQ(listed.code, 0);
  EXPECT_GT(listed.output.size(), 1000u);
  EXPECT_EQ(listed.output, text_of(std::filesystem::path(FIRN_TEST_DATA) / ".." / "docs" / "options.md"));
}

TEST(Docs, TheExampleOfExtendingTrains) {
  const Ran ran = tool("example_extending", "30");
  ASSERT_EQ(ran.code, 0) << ran.output;
  const std::string& output = ran.output;
  double d_loss = 0, g_loss = 0, distance = -1;
  std::istringstream lines(output);
  for (std::string name; lines >> name;) {
    double value = 0;
    lines >> value;
    if (name == "Loss/D/loss") d_loss = value;
    if (name == "Loss/G/loss") g_loss = value;
    if (name == "Loss/G/distance") distance = value;
  }
  EXPECT_TRUE(d_loss > 0.2 && d_loss < 1.3863) << output;  // D learns: 2 log 2 is chance
  EXPECT_GT(g_loss, 0.5) << output;
  EXPECT_GT(distance, 0) << output;
}

}  // namespace
}  // namespace firn
