// What goes to the device and what is added up there without waiting, on the CPU and on a GPU (or its interpreter).
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/ops.h"
#include "engine/random.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"
#include "tests/io/io_support.h"
#include "training/state/stats.h"
#include "training/step/feed.h"

namespace firn {
namespace {

class FeedTest : public testing::TestWithParam<std::tuple<const char*, DType>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) == std::string("cuda") && kernels::cuda_device_count() == 0)
      GTEST_SKIP() << "this machine has no GPU";
  }
  static Device device() { return Device::from_name(std::get<0>(GetParam())); }
  static DType type() { return std::get<1>(GetParam()); }
  Rng rng_{.seed = 4};
};

TEST_P(FeedTest, ImagesComeOutBetweenMinusOneAndOneInTheSamePlace) {
  ImageFeed feed({4, 8, 8, 3}, type(), device());
  std::vector<uint8_t> pixels(4 * 8 * 8 * 3);
  const void* place = feed.images().data();
  for (int batch = 0; batch < 5; ++batch) {  // more than there are buffers on the way
    std::iota(pixels.begin(), pixels.end(), static_cast<uint8_t>(batch * 7));
    const Tensor& images = feed.put(pixels);
    EXPECT_EQ(images.data(), place);
    const std::vector<double> values = images.to_doubles();
    for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], pixels[i] / 127.5 - 1, 1e-6) << i;
  }
  EXPECT_MENTIONS(message_of<ShapeError>([&] { feed.put(std::span(pixels).first(5)); }), "5 bytes do not fill");
}

// Wider than high and of more pixels than a block takes, by lists that repeat, mirror and change.
TEST_P(FeedTest, ResidentImagesComeByNumber) {
  const Shape batch{3, 65, 72, 3};
  const int64_t row = batch[2] * batch[3], size = batch[1] * row, count = 4;
  std::vector<uint8_t> pixels(static_cast<size_t>(count * size));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37 + i / 7);
  ResidentImages set(batch, count, type(), device());
  set.store(0, std::span(pixels).first(static_cast<size_t>(size)));
  set.store(1, std::span(pixels).subspan(static_cast<size_t>(size)));
  Tensor items = Tensor::empty({3}, DType::i32, device());
  for (const std::vector<int32_t>& numbers : {std::vector<int32_t>{2, 0, 2}, {6, 4, 3}}) {
    items.put(numbers);
    const std::vector<double> values = set.put(items).to_doubles();
    for (int64_t i = 0; i < 3 * size; ++i) {
      const int64_t number = numbers[static_cast<size_t>(i / size)], y = i % size / row, x = i % row / 3, c = i % 3;
      const int64_t from = number < count ? number * size + y * row + x * 3 + c
                                          : (number - count) * size + y * row + (batch[2] - 1 - x) * 3 + c;
      ASSERT_NEAR(values[static_cast<size_t>(i)], pixels[static_cast<size_t>(from)] / 127.5 - 1, 1e-6) << i;
    }
  }
  EXPECT_MENTIONS(message_of<ShapeError>([&] { set.store(1, pixels); }), "do not fit 4 images");
  EXPECT_MENTIONS(message_of<ShapeError>([&] { items.put({}); }), "0 values do not fill a tensor [3]");
}

TEST_P(FeedTest, RowsAreCopiedByNumber) {
  const int64_t width = 5000;  // more than one block takes
  const Tensor x = randn({4, width}, rng_, type(), device());
  Tensor y = Tensor::zeros({4, width}, type(), device()), z = Tensor::zeros({2, width}, type(), device());
  const Tensor rows = Tensor::from(std::vector<int32_t>{3, 1, 4, -1}, {4}, device());  // the last two are not there
  copy_rows(y, x, rows.as<int32_t>(), nullptr, 4);
  copy_rows(z, y, nullptr, rows.as<int32_t>(), 4);
  const std::vector<double> from = x.to_doubles(), scattered = y.to_doubles(), gathered = z.to_doubles();
  for (size_t i = 0; i < gathered.size(); ++i) ASSERT_EQ(gathered[i], from[i]) << i;
  for (size_t i = 0; i < width; ++i) {
    ASSERT_EQ(scattered[i], 0);
    ASSERT_EQ(scattered[3 * width + i], from[i]);
  }
}

TEST_P(FeedTest, LabelsAreIntegersAndOneHotWhereAskedFor) {
  LabelFeed feed(300, 3, device());  // more labels than one launch carries
  std::vector<int> labels(300);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int>(i * 5 % 3);
  EXPECT_EQ(feed.put(labels).type(), DType::i32);
  const std::vector<double> values = one_hot(feed.labels(), 3, type()).to_doubles();
  ASSERT_EQ(values.size(), 3 * labels.size());
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], static_cast<int>(i % 3) == labels[i / 3]) << i;
  labels[7] = 3;
  EXPECT_EQ(message_of<ShapeError>([&] { feed.put(labels); }), "label 3 where there are 3 classes");
  EXPECT_FALSE(LabelFeed(2, 0, device()).put(labels).defined());
  EXPECT_MENTIONS(message_of<ShapeError>([&] { feed.put({}); }), "0 values do not fill a tensor [300]");
}

TEST_P(FeedTest, StatisticsAddUpAndKeepWhatIsNotFiniteApart) {
  DeviceStats stats(device());
  for (const double v : {1.0, 3.0, double(NAN), double(INFINITY), -1.0})
    stats.add("a", Tensor::full({}, v, type(), device()));
  stats.add("b", Tensor::full({}, 2, type(), device()));
  const Stats read = stats.read();
  EXPECT_EQ(read.size(), 2u);
  EXPECT_EQ(read.at("a"), (Stat{.finite = 3, .not_finite = 2, .sum = 3, .squares = 11}));
  DeviceStats other(device());
  other.set(read);
  EXPECT_EQ(other.read(), read);
  stats.set({});
  EXPECT_TRUE(stats.read().empty());
}

TEST_P(FeedTest, OnlyFiniteNumbersReplace) {
  Tensor y = Tensor::full({1}, 5, type(), device());
  const auto after = [&](double v) {
    const Tensor x = Tensor::full({1}, v, type(), device());
    dispatch_acc(type(), [&](auto tag) {
      using T = decltype(tag);
      run(y.stream(), kernels::CopyIfFinite<T>{y.mutable_as<T>(), x.as<T>()});
    });
    return y.item();
  };
  EXPECT_EQ(after(NAN), 5);
  EXPECT_EQ(after(-INFINITY), 5);
  EXPECT_EQ(after(7), 7);
}

#ifdef FIRN_CUDA
constexpr const char* kDevices[] = {"cpu", "cuda"};
#else
constexpr const char* kDevices[] = {"cpu"};
#endif
INSTANTIATE_TEST_SUITE_P(Device, FeedTest,
                         testing::Combine(testing::ValuesIn(kDevices), testing::Values(DType::f32, DType::f64)),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param), name_of(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace firn
