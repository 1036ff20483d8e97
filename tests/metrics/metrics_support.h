// Sets of images that are made, not stored.
#pragma once
#include <algorithm>
#include <climits>
#include <cmath>
#include <random>

#include "metrics/comparison.h"
#include "tests/io/io_support.h"

namespace firn {

// Images of three colours that vary smoothly, each another; with noise those of one number are near to one another.
inline Image smooth_image(int number, int size = 16, int noise = 0) {
  std::mt19937_64 of_number{uint64_t(number)}, of_noise{uint64_t(noise)};
  const uint64_t shape = of_number();
  const auto next = [&] { return double(of_noise() >> 11) * 0x1p-53; };
  const auto wave = [&](int i) { return double((shape >> (8 * (i % 8))) & 255) / 255; };
  Image image(size, size, 3);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      for (int c = 0; c < 3; ++c) {
        const double v = 128 + 60 * std::sin(6 * wave(c) * x / size + 6 * wave(c + 3)) +
                         60 * std::cos(6 * wave(c + 1) * y / size + 6 * wave(c + 5)) + (noise ? 6 * (next() - 0.5) : 0);
        image.at(x, y)[c] = uint8_t(std::clamp(v, 0.0, 255.0));
      }
  return image;
}

class MadeImages : public ImageSet {
 public:
  using Make = std::function<Image(int64_t)>;
  MadeImages(int64_t size, Make make, int classes = 0) : size_(size), make_(std::move(make)), classes_(classes) {}
  std::string name() const override { return "made images"; }
  int64_t size() const override { return size_; }
  int classes() const override { return classes_; }
  Image image(int64_t item) const override { return make_(item); }
  void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const override {
    for (int64_t i = 0; i < std::min(count, size_); ++i) {
      const MeasuredImage one{.image = make_(i), .label = classes_ ? int(i % classes_) : -1, .item = i};
      use(std::span(&one, 1));
    }
  }

 private:
  int64_t size_;
  Make make_;
  int classes_;
};

inline std::shared_ptr<const ImageSet> made(int64_t size, MadeImages::Make make, int classes = 0) {
  return std::make_shared<MadeImages>(size, std::move(make), classes);
}

inline std::shared_ptr<const ImageSet> smooth_images(int first, int count, int classes = 0) {
  return made(
      count, [first](int64_t i) { return smooth_image(first + int(i)); }, classes);
}

inline Evaluation evaluate(std::shared_ptr<const ImageSet> reals, std::shared_ptr<const ImageSet> fakes,
                           const std::vector<std::string>& names, std::shared_ptr<const ImageSet> left_out = nullptr) {
  const WeightFiles no_files;
  const ComparisonSettings settings;
  Comparison comparison(std::move(reals), std::move(left_out), parse_metrics(names, no_files), settings);
  return comparison(std::move(fakes));
}

inline double score(const Evaluation& e, const std::string& name) {
  for (const MetricResult& r : e.metrics)
    for (const Score& s : r.scores)
      if (s.name == name) return s.value;
  ADD_FAILURE() << "there is no score " << name;
  return NAN;
}

}  // namespace firn
