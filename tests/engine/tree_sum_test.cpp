// Who holds what of a sum. That processes get the same bits of it is for tests/processes, which has some.
#include "engine/tree_sum.h"

#include <gtest/gtest.h>

namespace firn {

void PrintTo(const Leaves& leaves, std::ostream* out) { *out << leaves.first << ".." << leaves.last; }

namespace {

TEST(TreeSum, SharesAreNeighboursAndAllOfThem) {
  for (const int ranks : {1, 2, 3, 4, 7})
    for (const int64_t leaves : {7, 8, 31}) {
      int64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const Leaves own = share_of(leaves, r, ranks);
        EXPECT_EQ(own.first, next);
        EXPECT_GE(own.count(), leaves / ranks);
        EXPECT_LE(own.count(), leaves / ranks + 1);
        next = own.last;
      }
      EXPECT_EQ(next, leaves);
    }
}

TEST(TreeSum, SubtreesOfAPowerOfTwoAreOneEach) {
  using List = std::vector<Leaves>;
  EXPECT_EQ(subtrees(8, {0, 8}), (List{{0, 8}}));
  EXPECT_EQ(subtrees(8, {4, 8}), (List{{4, 8}}));
  EXPECT_EQ(subtrees(6, {2, 4}), (List{{2, 3}, {3, 4}}));  // halves of 3, which split as 1 and 2
  EXPECT_EQ(subtrees(5, {0, 5}), (List{{0, 5}}));
  EXPECT_EQ(subtrees(5, {2, 5}), (List{{2, 5}}));
  EXPECT_EQ(subtrees(5, {1, 3}), (List{{1, 2}, {2, 3}}));
  EXPECT_TRUE(subtrees(2, {1, 1}).empty());
}

TEST(TreeSum, OfOneProcessIsWhatItIsGiven) {
  const Tensor a = Tensor::full({3}, 2, DType::f32, Device::cpu()), b = Tensor::full({}, 1, DType::f64, Device::cpu());
  const std::vector<Tensor> sums = sum_over_processes(alone(), 5, {{a, b}});
  EXPECT_EQ(sums[0].data(), a.data());
  EXPECT_EQ(sums[1].data(), b.data());
  EXPECT_EQ(alone().bytes_sent(), 0);
}

}  // namespace
}  // namespace firn
