// A generator that replays its training set is caught; an honest one is not.
#include <gtest/gtest.h>

#include "tests/metrics/metrics_support.h"

namespace firn {
namespace {

constexpr int kTrained = 60;
const auto trained = [] { return smooth_images(0, kTrained); };
const auto copycat = [] {
  return made(200, [](int64_t i) { return smooth_image(int(i) % kTrained, 16, 1 + int(i)); });
};
const auto honest = [] { return smooth_images(1000, 200); };

TEST(Memorising, OfACopycatIsFlaggedAndOfNewImagesNot) {
  for (const std::vector<std::string>& names : {std::vector<std::string>{"swd200_full"}, {"fid200_full-pixels"}}) {
    const Evaluation copies = evaluate(trained(), copycat(), names), others = evaluate(trained(), honest(), names);
    ASSERT_TRUE(copies.memorising && others.memorising);
    EXPECT_TRUE(copies.memorising->flagged) << copies.memorising->share << " " << copies.memorising->expected;
    EXPECT_FALSE(others.memorising->flagged) << others.memorising->share << " " << others.memorising->expected;
    EXPECT_EQ(copies.memorising->share, 1);
    EXPECT_MENTIONS(to_text(*copies.memorising, "pixels"), "MEMORISED");
    EXPECT_EQ(to_text(*others.memorising, "pixels").find("MEMORISED"), std::string::npos);
  }
}

// A metric of few images compares with as many training images; a copy may be of any.
TEST(Memorising, LooksAtAllTrainingImages) {
  const auto all = [] { return smooth_images(0, 200); };
  const auto copies = made(20, [](int64_t i) { return smooth_image(9 * int(i), 16, 1 + int(i)); });
  const Evaluation e = evaluate(all(), copies, {"fid20-pixels"});
  EXPECT_TRUE(e.memorising->flagged) << e.memorising->share;
}

TEST(Memorising, IsCalibratedAgainstWhatWasLeftOut) {
  const auto left_out = smooth_images(5000, 80);
  const Evaluation copies = evaluate(trained(), copycat(), {"fid200_full-pixels"}, left_out),
                   others = evaluate(trained(), honest(), {"fid200_full-pixels"}, left_out);
  EXPECT_TRUE(copies.memorising->flagged);
  EXPECT_FALSE(others.memorising->flagged);
  EXPECT_NEAR(others.memorising->share, others.memorising->expected, 0.25);
}

TEST(Memorising, NearestImagesAreTheOnesThatWereCopied) {
  const Evaluation copies = evaluate(trained(), copycat(), {"fid200_full-pixels"});
  const std::vector<int64_t>& nearest = copies.memorising->nearest.row;
  ASSERT_EQ(nearest.size(), 200u);
  for (size_t i = 0; i < nearest.size(); ++i) EXPECT_EQ(nearest[i], int64_t(i) % kTrained);
}

TEST(Memorising, IsShownInPairsOfRows) {
  Comparison comparison(trained(), nullptr, parse_metrics({"fid200_full-pixels"}, {}), {});
  const Evaluation e = comparison(copycat());
  const Image sheet = comparison.neighbours_sheet(e);
  EXPECT_GE(sheet.width, 12 * 16);
  EXPECT_GT(sheet.height, 4 * 16);
}

TEST(Memorising, OfTooFewImagesIsNotSaid) {
  EXPECT_FALSE(evaluate(smooth_images(0, 3), honest(), {"fid20_full-pixels"}).memorising);
  EXPECT_THROW(spacing(Matrix(3, 2)), Error);
  EXPECT_THROW(memorising(Matrix(4, 2), spacing(Matrix(4, 2)), Matrix(0, 2)), Error);
}

}  // namespace
}  // namespace firn
