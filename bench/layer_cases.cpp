#include "bench/layer_cases.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstdio>

#include "base/error.h"

namespace firn {
namespace {

using In = std::vector<Tensor>;

tests::OpCase conv(const std::string& name, const Shape& x, const Shape& w, Conv2d p) {
  const int64_t side = p.stride == 2 && !p.transposed ? x[1] / 2 : x[1];
  const double flops = 2.0 * double(x[0] * side * side) * double(count(w));
  return {name, {}, {x, w}, [p](const In& in) { return conv2d(in[0], in[1], p); }, {}, "aw", flops};
}

tests::OpCase fir(const std::string& name, const Shape& x, Fir p) {
  return {name, {}, {x}, [p](const In& in) { return upfirdn2d(in[0], p); }, {}, "a"};
}

}  // namespace

std::vector<tests::OpCase> layer_cases(const std::string& size) {
  int resolution = 0, base = 0, batch = 0, end = 0;
  if (std::sscanf(size.c_str(), "%d/%d/%d%n", &resolution, &base, &batch, &end) != 3 || size_t(end) != size.size() ||
      resolution < 8 || resolution > 1024 || !std::has_single_bit(unsigned(resolution)) || base < resolution ||
      base > 1 << 20 || batch < 1 || batch > 4096)
    throw ConfigError(fmt::format("--layers {}: expected RESOLUTION/CHANNEL_BASE/BATCH, like 256/16384/16", size));
  std::vector<tests::OpCase> cases;
  for (int64_t s = resolution; s >= 8; s /= 2) {
    const int64_t n = batch, wide = std::min<int64_t>(base / (s / 2), 512), c = std::min<int64_t>(base / s, 512);
    const std::string block = fmt::format("layer/b{}.", s);
    const Shape x{n, s, s, c};
    cases.push_back(conv(block + "conv0", x, {c, 3, 3, c}, {.pad = 1}));
    cases.push_back(conv(block + "down", {n, s + 1, s + 1, c}, {wide, 3, 3, c}, {.stride = 2}));
    cases.push_back(conv(block + "skip", {n, s / 2, s / 2, c}, {wide, 1, 1, c}, {}));
    cases.push_back(conv(block + "up", {n, s / 2, s / 2, wide}, {c, 3, 3, wide}, {.stride = 2, .transposed = true}));
    cases.push_back(fir(block + "blur", x, {.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2}));
    cases.push_back(fir(block + "blur_down", x, {.down = 2, .pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1}));
    // Whole layers, as the networks run them.
    const Fir up_blur{.pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1, .gain = 4};
    const Fir down_blur{.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2};
    const auto styled = [&](const char* name, bool up) {
      const Shape from = up ? Shape{n, s / 2, s / 2, wide} : x, w{c, 3, 3, from[3]};
      const auto fn = [=](const In& in) {
        BiasAct act = lrelu();
        act.d = in[4];
        if (up) return styled_conv2d_up(in[0], in[1], in[2], in[3], {.stride = 2, .transposed = true}, up_blur, act);
        return styled_conv2d(in[0], in[1], in[2], in[3], {.pad = 1}, act);
      };
      const double flops = 2.0 * double(n * from[1] * from[2]) * double(count(w));
      cases.push_back({block + name, {}, {from, {n, from[3]}, w, {c}, {n, c}}, fn, {}, "awwww", flops});
    };
    styled("styled_up", true);
    styled("styled", false);
    const auto halved = [=](const In& in) {
      return conv2d_down(in[0], in[1], in[2], down_blur, {.stride = 2}, lrelu());
    };
    const double flops = 2.0 * double(n * s / 2 * s / 2) * double(wide * 9 * c);
    cases.push_back({block + "blurred_down", {}, {x, {wide, 3, 3, c}, {wide}}, halved, {}, "aww", flops});
    const auto activated = [](const In& in) { return bias_act(in[0], in[1], lrelu()); };
    cases.push_back({block + "act", {}, {x, {c}}, activated, {}, "aw"});
  }
  return cases;
}

}  // namespace firn
