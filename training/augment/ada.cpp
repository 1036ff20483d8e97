// Adaptive discriminator augmentation: 18 transforms, each of an image with probability p (Karras et al. 2020,
// arXiv 2006.06676, appendix B). Unlike published code, which reflects as much of an image as the corners of its batch
// ask for and takes zero for the rest, all that can be reflected is: what becomes of an image does not depend on
// others.
#include <algorithm>
#include <cmath>

#include "engine/ops.h"
#include "training/augment/augment.h"

namespace firn {
namespace {

using kernels::DrawnNumber;
using kernels::Law;
namespace ada = kernels::ada;
using Matrices = kernels::AdaMatrices<double>;

std::vector<double> convolved(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> y(a.size() + b.size() - 1, 0);
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j) y[i + j] += a[i] * b[j];
  return y;
}

// Half the autocorrelation of symlets of order 2: low-pass, or with every second tap negative, high-pass.
std::vector<double> half_band(bool high) {
  std::vector<double> f = {-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025};
  for (size_t i = 1; high && i < f.size(); i += 2) f[i] = -f[i];
  std::vector<double> y = convolved(f, {f.rbegin(), f.rend()});
  for (double& v : y) v /= 2;
  return y;
}

// Bands of an octave each but for the lowest, whose sum passes everything.
std::vector<std::vector<double>> filter_bank() {
  const std::vector<double> low = half_band(false), high = half_band(true);
  std::vector<std::vector<double>> bank(Matrices::bands, std::vector<double>{0});
  bank[0] = {1};
  for (size_t i = 1; i < bank.size(); ++i) {
    for (std::vector<double>& band : bank) {
      std::vector<double> wide(2 * band.size() - 1, 0);
      for (size_t k = 0; k < band.size(); ++k) wide[2 * k] = band[k];
      band = convolved(wide, low);
    }
    const size_t first = (bank[i].size() - high.size()) / 2;
    for (size_t k = 0; k < high.size(); ++k) bank[i][first + k] += high[k];
  }
  return bank;
}

class AdaPipe : public Pipe {
 public:
  explicit AdaPipe(const AugmentOptions& o) : options_(o), bank_(filter_bank()) {}

  std::vector<DrawnNumber> numbers(const ImageShape& images) const override {
    std::vector<DrawnNumber> all(ada::numbers);
    int gates = 0;
    const auto put = [&](const char* transform, std::initializer_list<int> columns, DrawnNumber number) {
      number.gate = gates++;
      number.share = options_.transforms_by(transform) ? 1 : 0;
      for (const int column : columns) all[size_t(column)] = number;
    };
    const auto width = float(images.width), height = float(images.height), pi = float(M_PI);
    put("xflip", {ada::xflip}, {.law = Law::whole, .b = 2});
    put("rotate90", {ada::rotate90}, {.law = Law::whole, .b = 4});
    put("xint", {ada::xint_x, ada::xint_y}, {.law = Law::rounded, .a = -0.125f * width, .b = 0.125f * width});
    all[ada::xint_y].a = -0.125f * height;
    all[ada::xint_y].b = 0.125f * height;
    put("scale", {ada::scale}, {.law = Law::power, .a = 0.2f, .otherwise = 1});
    for (const int column : {ada::rotate_before, ada::rotate_behind})
      put("rotate", {column}, {.a = -pi, .b = pi, .of_two = true});
    put("aniso", {ada::aniso}, {.law = Law::power, .a = 0.2f, .otherwise = 1});
    put("xfrac", {ada::xfrac_x, ada::xfrac_y}, {.law = Law::normal, .a = 0.125f * width});
    all[ada::xfrac_y].a = 0.125f * height;
    put("brightness", {ada::brightness}, {.law = Law::normal, .a = 0.2f});
    put("contrast", {ada::contrast}, {.law = Law::power, .a = 0.5f, .otherwise = 1});
    put("lumaflip", {ada::lumaflip}, {.law = Law::whole, .b = 2});
    put("hue", {ada::hue}, {.a = -pi, .b = pi});
    put("saturation", {ada::saturation}, {.law = Law::power, .a = 1, .otherwise = 1});
    for (int band = 0; band < Matrices::bands; ++band)
      put("imgfilter", {ada::band_gains + band}, {.law = Law::power, .a = 1, .otherwise = 1});
    put("noise", {ada::noise_size}, {.law = Law::half_normal, .a = 0.1f});
    put("cutout", {ada::cutout_box + 2, ada::cutout_box + 3}, {.a = 0.25f * width, .b = 0.25f * width});
    all[ada::cutout_box + 2].a = all[ada::cutout_box + 2].b = 0.25f * height;
    all[ada::cutout_box] = {.b = height};
    all[ada::cutout_box + 1] = {.b = width};
    return all;
  }

  bool has_noise() const override { return options_.transforms_by("noise"); }

  Tensor apply(Tensor x, const Tensor& values, const Tensor& noise) const override {
    const auto any = [&](std::initializer_list<const char*> names) {
      return std::ranges::any_of(names, [&](const char* name) { return options_.transforms_by(name); });
    };
    const int64_t n = x.dim(0), C = x.dim(3);
    const bool colours = C == 1 || C == 3 || C == 4;
    Tensor geometry, colour, filter;
    if (any({"xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"})) geometry = x.like({n, 2, 3});
    if (colours && any({"brightness", "contrast", "lumaflip", "hue", "saturation"})) colour = x.like({n, C, C + 1});
    if (any({"imgfilter"})) filter = x.like({n, Matrices::taps});
    dispatch_acc(x.type(), [&](auto tag) {
      using T = decltype(tag);
      const auto room = [](Tensor& t) { return t.defined() ? t.mutable_as<T>() : nullptr; };
      kernels::AdaMatrices<T> k{room(geometry), room(colour), room(filter), values.as<T>(), n, int(C), {}};
      for (size_t b = 0; b < bank_.size(); ++b)
        for (size_t i = 0; i < bank_[b].size(); ++i) k.bank[b][i] = T(bank_[b][i]);
      run(x.stream(), k);
    });
    if (geometry.defined()) x = warp(x, geometry);
    if (colour.defined()) x = mix_channels(x, colour);
    if (filter.defined()) x = filter_reflected(x, filter);
    const auto column = [&](int first, int count) { return slice(values, 1, first, first + count); };
    if (noise.defined()) x = x + noise * reshape(column(ada::noise_size, 1), {n, 1, 1, 1});
    return any({"cutout"}) ? cut_out(x, column(ada::cutout_box, 4)) : x;
  }

 private:
  AugmentOptions options_;
  std::vector<std::vector<double>> bank_;
};

}  // namespace

std::unique_ptr<Pipe> ada_pipe(const AugmentOptions& options) { return std::make_unique<AdaPipe>(options); }

}  // namespace firn
