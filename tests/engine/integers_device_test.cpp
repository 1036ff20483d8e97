// Tensors of integers: made, moved, read, and never computed with. Rows by number, on the CPU and on a GPU (or its
// interpreter).
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/ops.h"
#include "kernels/device/memory.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

using Integers = std::vector<int64_t>;

class IntegerTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("cuda") && kernels::cuda_device_count() == 0)
      GTEST_SKIP() << "this machine has no GPU";
  }
  static Device device() { return Device::from_name(GetParam()); }
  static Tensor of(const std::vector<int32_t>& v, Shape shape) { return Tensor::from(v, std::move(shape), device()); }
};

TEST_P(IntegerTest, AreMadeMovedAndRead) {
  const Integers large{int64_t{1} << 60, -3, 7, 0, 1, 2};
  const Tensor x = Tensor::from(large, {2, 3}, device()), y = of({5, 6, 7, 8}, {4});
  EXPECT_EQ(x.type(), DType::i64);
  EXPECT_EQ(x.to_integers(), large);
  EXPECT_EQ(permute(x, {1, 0}).to_integers(), (Integers{large[0], 0, -3, 1, 7, 2}));
  EXPECT_EQ(slice(y, 0, 1, 3).to_integers(), (Integers{6, 7}));
  EXPECT_EQ(concat({reshape(y, {2, 2}), reshape(y, {2, 2})}, 1).to_integers(), (Integers{5, 6, 5, 6, 7, 8, 7, 8}));
  EXPECT_EQ(embed(y, 0, 1, 6).to_integers(), (Integers{0, 5, 6, 7, 8, 0}));
  EXPECT_EQ(Tensor::full({2}, -9, DType::i64, device()).to_integers(), (Integers{-9, -9}));
  EXPECT_EQ(Tensor::full({}, 3, DType::i32, device()).item(), 3);
  Tensor z = Tensor::zeros({4}, DType::i32, device());
  z.put(std::vector<int32_t>{1, 2, 3, 4});
  EXPECT_EQ(z.to_integers(), (Integers{1, 2, 3, 4}));
  z.copy_from(y);
  EXPECT_EQ(z.to_integers(), y.to_integers());
}

TEST_P(IntegerTest, AreNotComputedWith) {
  const Tensor n = of({1, 2, 3, 4}, {2, 2}), x = Tensor::zeros({2, 2}, DType::f32, device());
  const std::function<void()> wrong[] = {[&] { n + n; },
                                         [&] { x + n; },
                                         [&] { n * 2.0; },
                                         [&] { square(n); },
                                         [&] { sum(n); },
                                         [&] { cast(n, DType::f32); },
                                         [&] { cast(x, DType::i32); },
                                         [&] { matmul(n, n); },
                                         [&] { scale_channels(n, n); },
                                         [&] { bias_act(n, {}, lrelu()); },
                                         [&] { normalize_2nd_moment(n); },
                                         [&] {
                                           upsample2d(reshape(n, {1, 2, 2, 1}));
                                         },
                                         [&] {
                                           conv2d(reshape(n, {1, 2, 2, 1}), reshape(n, {4, 1, 1, 1}));
                                         },
                                         [&] { gather(n, of({0}, {1})); },
                                         [&] { n.require_grad(); },
                                         [&] { x.to_integers(); },
                                         [&] { Tensor(x).put(std::vector<int32_t>(4)); },
                                         [&] { Tensor(x).copy_from(n); },
                                         [&] { Tensor(n).copy_from(x); },
                                         [&] { Tensor::from(std::vector<float>{1}, {1}, DType::i32, device()); }};
  for (size_t i = 0; i < std::size(wrong); ++i) EXPECT_THROW(wrong[i](), ShapeError) << i;
  EXPECT_MENTIONS(message_of<ShapeError>(wrong[3]), "expected f32, bf16 or f64, got i32");
}

TEST_P(IntegerTest, RowsComeByNumberAndAreAddedUpInOrder) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2}, DType::f32, device());
  EXPECT_EQ(gather(x, of({2, 0, 2}, {3})).to_floats(), (std::vector<float>{5, 6, 1, 2, 5, 6}));
  EXPECT_EQ(gather(x, of({}, {0})).shape(), (Shape{0, 2}));
  EXPECT_EQ(scatter_add(x, of({3, 1, 3}, {3}), 4).to_floats(), (std::vector<float>{0, 0, 3, 4, 0, 0, 6, 8}));
  // 1 is lost beside 1e8, so the order shows.
  const Tensor order = Tensor::from(std::vector<float>{1e8F, 1, -1e8F, 1}, {4}, DType::f32, device());
  EXPECT_EQ(scatter_add(order, of({0, 0, 0, 0}, {4}), 1).to_floats()[0], 1);
  EXPECT_THROW(gather(x, x), ShapeError);
  EXPECT_THROW(gather(x, of({0, 1}, {2, 1})), ShapeError);
  EXPECT_THROW(gather(Tensor::zeros({}, DType::f32, device()), of({0}, {1})), ShapeError);
  EXPECT_THROW(scatter_add(x, of({0, 1}, {2}), 3), ShapeError);
}

TEST_P(IntegerTest, NumbersOutOfRangeReachNoMemory) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3, 1}, DType::f32, device());
  const Tensor index = of({-1, 1, 3}, {3});
  if (device().is_cuda()) {
    EXPECT_EQ(gather(x, index).to_floats(), (std::vector<float>{0, 2, 0}));
    EXPECT_EQ(scatter_add(x, index, 3).to_floats(), (std::vector<float>{0, 2, 0}));
  } else {
    EXPECT_EQ(message_of<ShapeError>([&] { gather(x, index); }), "gather: index -1 where there are 3 rows");
    EXPECT_EQ(message_of<ShapeError>([&] {
                scatter_add(x, of({0, 3, 1}, {3}), 3);
              }),
              "scatter_add: index 3 where there are 3 rows");
  }
}

#ifdef FIRN_CUDA
INSTANTIATE_TEST_SUITE_P(Device, IntegerTest, testing::Values("cpu", "cuda"));
#else
INSTANTIATE_TEST_SUITE_P(Device, IntegerTest, testing::Values("cpu"));
#endif

}  // namespace
}  // namespace firn
