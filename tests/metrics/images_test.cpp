// Images on their way to a network: how they are resized, and that features do not depend on how they come.
#include <gtest/gtest.h>
#include <omp.h>

#include "io/safetensors.h"
#include "metrics/images/resize.h"
#include "models/registry.h"
#include "models/stylegan2/stylegan2.h"
#include "tests/metrics/metrics_support.h"

namespace firn {
namespace {

TEST(Resize, IsThatOfThePackages) {
  const SafetensorsFile file = read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden/resize.safetensors");
  const StoredTensor& stored = file.at("image");
  Image image(int(stored.shape[1]), int(stored.shape[0]), 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(stored.bytes[i]);
  for (const Resizer resizer : {Resizer::tensorflow, Resizer::bilinear, Resizer::bicubic})
    for (const int size : {7, 31}) {
      const std::string name = fmt::format("{}.{}", name_of(resizer), size);
      const std::vector<float> expected = file.at(name).to_floats(), got = resized(image, size, resizer);
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 2e-4) << name << " " << i;
    }
}

TEST(Resize, OfTheRightSizeChangesNothing) {
  const Image image = smooth_image(3, 12);
  for (const Resizer resizer : {Resizer::tensorflow, Resizer::bilinear, Resizer::bicubic}) {
    const std::vector<float> same = resized(image, 12, resizer);
    for (size_t i = 0; i < same.size(); ++i) ASSERT_EQ(same[i], image.pixels[i]);
  }
}

TEST(Resize, GreyIsRgbAndTransparencyIsOnWhite) {
  const std::vector<float> grey = resized(Image(4, 4, 1, 100), 8, Resizer::bilinear);
  for (const float v : grey) ASSERT_NEAR(v, 100, 1e-4);
  const std::vector<float> clear = resized(Image(4, 4, 4, 0), 8, Resizer::bilinear);
  for (const float v : clear) ASSERT_NEAR(v, 255, 1e-4);
}

// One by one, or many at a time.
std::shared_ptr<const ImageSet> in_parts(int64_t count, int64_t part) {
  class Parts : public MadeImages {
   public:
    Parts(int64_t count, int64_t part)
        : MadeImages(count, [](int64_t i) { return smooth_image(int(i)); }), part_(part) {}
    void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const override {
      for (int64_t begin = 0; begin < std::min(count, size()); begin += part_) {
        std::vector<MeasuredImage> some;
        for (int64_t i = begin; i < std::min({begin + part_, count, size()}); ++i) some.push_back({image(i), -1, i});
        use(some);
      }
    }

   private:
    int64_t part_;
  };
  return std::make_shared<Parts>(count, part);
}

TEST(Features, AreTheSameBitsHoweverImagesCome) {
  const FeatureExtractor pixels(Variant::standard);
  std::vector<double> first;
  for (const int threads : {1, 2})
    for (const int part : {1, 7, 64}) {
      omp_set_num_threads(threads);
      const FeatureTable table = pixels(*in_parts(70, part), 65, Side::fakes);
      omp_set_num_threads(2);
      ASSERT_EQ(table.features.rows, 65);
      if (first.empty()) first = table.features.values;
      EXPECT_EQ(table.features.values, first) << threads << " threads, " << part << " at a time";
    }
}

TEST(Features, OfAGeneratorAreOfItsSeedAndClasses) {
  // The sets that a run makes of its network: the same images again, others for another seed.
  const auto g = [] {
    const StyleGan2Options o{.height = 8,
                             .width = 8,
                             .c_dim = 3,
                             .z_dim = 8,
                             .w_dim = 8,
                             .channel_base = 64,
                             .channel_max = 8,
                             .mapping_layers = 1};
    return std::shared_ptr<Generator>(make_generator(ModelSpec(o), Device::cpu()));
  }();
  const auto all = [&](uint64_t seed) {
    std::vector<MeasuredImage> images;
    generated_images(g, {.seed = seed, .class_counts = {0, 5, 1}}, "g")->read(40, [&](auto some) {
      images.insert(images.end(), some.begin(), some.end());
    });
    return images;
  };
  const auto a = all(1), b = all(1), c = all(2);
  ASSERT_EQ(a.size(), 40u);
  int of_class[3] = {};
  bool differs = false;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].image, b[i].image);
    EXPECT_EQ(a[i].label, b[i].label);
    differs |= a[i].image != c[i].image;
    ++of_class[a[i].label];
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(of_class[0], 0);  // a class that had no image in training
  EXPECT_GT(of_class[1], of_class[2]);
}

}  // namespace
}  // namespace firn
