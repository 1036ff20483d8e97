// DiffAugment: every image, always (Zhao et al. 2020, arXiv 2006.10738).
#include "engine/ops.h"
#include "training/augment/augment.h"

namespace firn {
namespace {

using kernels::DrawnNumber;
using kernels::Law;

enum Number { brightness, saturation, contrast, shift, box = shift + 2, numbers_in_all = box + 4 };

class DiffAugment : public Pipe {
 public:
  explicit DiffAugment(std::vector<std::string> policy) : policy_(std::move(policy)) {}

  std::vector<DrawnNumber> numbers(const ImageShape& images) const override {
    std::vector<DrawnNumber> all(numbers_in_all);
    all[brightness] = {.a = -0.5f, .b = 0.5f};
    all[saturation] = {.a = 0, .b = 2};
    all[contrast] = {.a = 0.5f, .b = 1.5f};
    for (const int axis : {0, 1}) {
      const int size = axis ? images.width : images.height;
      const int most = int(size * 0.125 + 0.5), cut = int(size * 0.5 + 0.5);
      all[size_t(shift + axis)] = {.law = Law::whole, .a = float(-most), .b = float(most + 1)};
      // A square of `cut` pixels from offset - cut / 2 on; its centre, and half of it.
      const float centre = float(cut) / 2 - float(cut / 2);
      all[size_t(box + axis)] = {.law = Law::whole, .a = centre, .b = centre + float(size + 1 - cut % 2)};
      all[size_t(box + 2 + axis)] = {.a = float(cut) / 2, .b = float(cut) / 2};
    }
    return all;
  }

  Tensor apply(Tensor x, const Tensor& values, const Tensor&) const override {
    const auto column = [&](int first, int count) { return slice(values, 1, first, first + count); };
    const auto of_image = [&](int number) { return reshape(column(number, 1), {x.dim(0), 1, 1, 1}); };
    const auto from_mean = [&](const std::vector<int>& axes, int number) {
      const Tensor middle = mean_axes(x, axes);
      return (x - middle) * of_image(number) + middle;
    };
    for (const std::string& part : policy_) {
      if (part == "color") {
        x = x + of_image(brightness);
        x = from_mean({3}, saturation);
        x = from_mean({1, 2, 3}, contrast);
      } else if (part == "translation") {
        x = shift_pixels(x, column(shift, 2));
      } else {
        x = cut_out(x, column(box, 4));
      }
    }
    return x;
  }

 private:
  std::vector<std::string> policy_;
};

}  // namespace

std::unique_ptr<Pipe> diff_augment(std::vector<std::string> policy) {
  return std::make_unique<DiffAugment>(std::move(policy));
}

}  // namespace firn
