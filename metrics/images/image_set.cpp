#include "metrics/images/image_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "io/parallel.h"
#include "models/sampling.h"

namespace firn {
namespace {

constexpr int64_t kAtOnce = 64;  // images in memory; what is measured does not depend on it

class StoredImages : public ImageSet {
 public:
  StoredImages(std::shared_ptr<const Dataset> dataset, std::string name)
      : dataset_(std::move(dataset)), name_(std::move(name)) {}

  std::string name() const override { return name_; }
  int64_t size() const override { return dataset_->size(); }
  int classes() const override { return dataset_->num_classes(); }
  Image image(int64_t item) const override { return dataset_->load(item); }
  std::string content() const override {
    if (content_.empty()) content_ = dataset_->content_hash();
    return content_;
  }

  void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const override {
    std::vector<int64_t> items(static_cast<size_t>(size()));
    std::iota(items.begin(), items.end(), 0);
    if (count < size()) items = Dataset::epoch_order(size(), 0, -2);  // an order that no loader has
    count = std::min(count, size());
    for (int64_t begin = 0, given = 0; begin < size() && given < count;) {
      const int64_t end = std::min({begin + kAtOnce, begin + count - given, size()});
      std::vector<MeasuredImage> some(static_cast<size_t>(end - begin));
      for_each_in_parallel(some.size(), 8, [&](size_t i) {
        const int64_t item = items[size_t(begin) + i];
        some[i] = {.image = {}, .label = dataset_->label(item), .item = item};
        try {
          some[i].image = dataset_->load(item);
        } catch (const SystemError&) {
          throw;
        } catch (const IoError&) {  // the data set counts them
        }
      });
      std::erase_if(some, [](const MeasuredImage& m) { return m.image.pixels.empty(); });
      given += std::ssize(some);
      begin = end;
      if (!some.empty()) use(some);
    }
  }

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::string name_;
  mutable std::string content_;
};

std::vector<Image> truncated_to_bytes(const Tensor& nhwc) {
  const std::vector<float> values = nhwc.to_floats();
  const int h = int(nhwc.dim(1)), w = int(nhwc.dim(2)), c = int(nhwc.dim(3));
  std::vector<Image> images;
  for (auto v = values.begin(); v != values.end();) {
    Image& image = images.emplace_back(w, h, c);
    for (uint8_t& p : image.pixels) {
      const float level = *v++ * 127.5f + 128;
      if (!std::isfinite(level)) throw Error("this network makes values that are not finite; it cannot be measured");
      p = uint8_t(std::clamp(level, 0.0f, 255.0f));
    }
  }
  return images;
}

class GeneratedImages : public ImageSet {
 public:
  GeneratedImages(std::shared_ptr<const Generator> g, Generated options, std::string name)
      : g_(std::move(g)), options_(std::move(options)), name_(std::move(name)) {
    std::vector<int64_t>& counts = options_.class_counts;
    if (std::ssize(counts) != g_->classes() || std::ranges::all_of(counts, [](int64_t n) { return n == 0; }))
      counts.assign(size_t(g_->classes()), 1);
    std::partial_sum(counts.begin(), counts.end(), counts.begin());
  }

  std::string name() const override { return name_; }
  int64_t size() const override { return INT64_MAX; }
  int classes() const override { return g_->classes(); }
  Image image(int64_t item) const override {
    const NoGrad no_grad;
    return truncated_to_bytes(g_->image(code(item)))[0];
  }

  void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const override {
    int64_t item = options_.first;
    sample(
        *g_, count, [&](int64_t i) { return code(options_.first + i); }, {},
        [&](const Tensor& images) {
          std::vector<MeasuredImage> some;
          for (Image& one : truncated_to_bytes(images)) {
            some.push_back({.image = std::move(one), .label = label(item), .item = item});
            ++item;
          }
          use(some);
        });
  }

 private:
  Rng rng(int64_t item) const { return {.seed = options_.seed * 0x9e3779b97f4a7c15u + uint64_t(item)}; }

  int label(int64_t item) const {
    if (g_->classes() == 0) return -1;
    Rng draw = rng(item);
    draw.offset = 1u << 20;  // behind z
    const auto& up_to = options_.class_counts;
    return int(std::upper_bound(up_to.begin(), up_to.end(), draw.integer(0, up_to.back())) - up_to.begin());
  }

  Code code(int64_t item) const {
    const NoGrad no_grad;
    Rng draw = rng(item);
    const Tensor z = randn({1, g_->z_dim()}, draw, g_->type(), g_->device());
    const int32_t klass = label(item);
    return g_->code(z, g_->classes() ? Tensor::from(std::span(&klass, 1), {1}, g_->device()) : Tensor{},
                    {.psi = options_.truncation});
  }

  std::shared_ptr<const Generator> g_;
  Generated options_;  // class_counts: sums up to and with each class
  std::string name_;
};

}  // namespace

std::unique_ptr<ImageSet> stored_images(std::shared_ptr<const Dataset> dataset, std::string name) {
  return std::make_unique<StoredImages>(std::move(dataset), std::move(name));
}

std::unique_ptr<ImageSet> generated_images(std::shared_ptr<const Generator> g, Generated options, std::string name) {
  return std::make_unique<GeneratedImages>(std::move(g), std::move(options), std::move(name));
}

}  // namespace firn
