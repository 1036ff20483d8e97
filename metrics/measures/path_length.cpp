// Perceptual path length (Karras et al. 2019, arXiv 1812.04948, section 4.1), in the forms that stylegan2-ada-pytorch
// names: how far an image moves, as people see it, when its latent moves by a small step.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "metrics/measures/measures.h"
#include "metrics/measures/perceptual.h"

namespace firn {
namespace {

constexpr double kStep = 1e-4;
constexpr int64_t kAtOnce = 4;

Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& t) { return a + (b - a) * t; }

Tensor unit(const Tensor& z) { return div(z, sqrt(reshape(sum_per_sample(square(z)), {z.dim(0), 1}))); }

// On the sphere. t [N,1] lies on the host: so few numbers need no kernel.
Tensor slerp(const Tensor& a, const Tensor& b, std::span<const double> t) {
  const Tensor x = unit(a), y = unit(b);
  const std::vector<double> cosines = sum_per_sample(x * y).to_doubles();
  std::vector<double> share_x, share_y;
  for (size_t i = 0; i < cosines.size(); ++i) {
    const double angle = std::acos(std::clamp(cosines[i], -1.0, 1.0)), sine = std::sin(angle);
    share_x.push_back(sine > 0 ? std::sin((1 - t[i]) * angle) / sine : 1 - t[i]);
    share_y.push_back(sine > 0 ? std::sin(t[i] * angle) / sine : t[i]);
  }
  const auto column = [&](const std::vector<double>& v) {
    return Tensor::from(std::span<const double>(v), {std::ssize(v), 1}, a.type(), a.device());
  };
  return unit(x * column(share_x) + y * column(share_y));
}

// As LPIPS sees them: RGB, the faces' middle where that is asked for, shrunk as whole images become 256 pixels high.
Tensor shown(Tensor images, bool cropped) {
  if (images.dim(3) == 1) images = concat({images, images, images}, 3);
  if (images.dim(3) == 4) images = slice(images, 3, 0, 3);
  const int64_t f = images.dim(1) / 256;
  if (cropped) {
    const int64_t c = images.dim(1) / 8;
    images = slice(slice(images, 1, 3 * c, 7 * c), 2, 2 * c, 6 * c);
  }
  if (f > 1) {
    const Tensor boxes = reshape(images, {images.dim(0), images.dim(1) / f, f, images.dim(2) / f, f, 3});
    images = reshape(mean_axes(boxes, {2, 4}), {images.dim(0), images.dim(1) / f, images.dim(2) / f, 3});
  }
  return cast(images, DType::f32);
}

class Walk {
 public:
  Walk(const MetricName& name, const Generator& g, int64_t number)
      : g_(g), in_w_(name.option[0] == 'w'), rng_{.seed = uint64_t(number) + 1} {
    styles_ = dynamic_cast<const StyleGenerator*>(&g);
    if (in_w_ && !styles_)
      throw ConfigError(fmt::format("{}: this network has no styles; ppl_zfull walks between latents", name.text()));
    std::vector<int32_t> classes;
    for (int64_t i = 0; i < kAtOnce; ++i) {
      t_.push_back(name.option.ends_with("full") ? rng_.uniform() : 0);
      if (g.classes()) classes.push_back(int32_t(rng_.integer(0, g.classes())));
    }
    if (g.classes()) labels_ = Tensor::from(std::span<const int32_t>(classes), {kAtOnce}, g.device());
    for (Tensor& z : z_) z = randn({kAtOnce, g.z_dim()}, rng_, g.type(), g.device());
  }

  Tensor images(double step) const {  // [kAtOnce,H,W,C]
    std::vector<double> t = t_;
    for (double& v : t) v += step;
    Rng noise{.seed = rng_.seed, .offset = 1u << 20};  // the same at both ends
    if (!in_w_) {
      const Code code = g_.code(slerp(z_[0], z_[1], t), labels_);
      return g_.image(code, &noise);
    }
    const Tensor column = Tensor::from(std::span<const double>(t), {kAtOnce, 1}, g_.type(), g_.device());
    const Tensor w = lerp(styles_->map(z_[0], labels_), styles_->map(z_[1], labels_), column);
    return styles_->synthesize(styles_->broadcast(w), &noise);
  }

 private:
  const Generator& g_;
  const StyleGenerator* styles_;
  bool in_w_;
  Rng rng_;
  std::vector<double> t_;
  Tensor z_[2], labels_;
};

// Without the outermost hundredths, whose ends are places of the sorted list.
double trimmed_mean(std::vector<double> values) {
  std::ranges::sort(values);
  const auto last = double(values.size() - 1);
  const double low = values[size_t(std::floor(0.01 * last))], high = values[size_t(std::ceil(0.99 * last))];
  double sum = 0;
  int64_t n = 0;
  for (const double v : values)
    if (v >= low && v <= high) {
      sum += v;
      ++n;
    }
  return sum / double(n);
}

Metric path_length(const char* name, bool cropped, std::vector<std::string> also) {
  return {.name = name,
          .title = cropped ? "perceptual path length of the images' middle" : "perceptual path length",
          .also = std::move(also),
          .values = {{"", Better::lower}},
          .network = "vgg16",
          .needs_reals = false,
          .needs_generator = true,
          .needs_lpips = true,
          .options = {"wend", "wfull", "zend", "zfull"},
          .measure = [cropped](const MetricName& n, Material& m) {
            const NoGrad no_grad;
            const Lpips lpips(m.network(n), m.lpips_heads(n));
            std::vector<double> all;
            while (std::ssize(all) < n.fakes) {
              const Walk walk(n, m.generator(), std::ssize(all));
              const Tensor near = shown(walk.images(0), cropped), far = shown(walk.images(kStep), cropped);
              for (const double d : lpips(near, far).to_doubles()) all.push_back(d / (kStep * kStep));
            }
            all.resize(size_t(n.fakes));
            return std::vector{trimmed_mean(std::move(all))};
          }};
}

}  // namespace

Metric path_length() { return path_length("ppl2", false, {"perceptual_path_length", "PerceptualPathLength"}); }
Metric cropped_path_length() { return path_length("ppl", true, {}); }

}  // namespace firn
