#include "tests/plans/shapes.h"

#include <fmt/core.h>

#include <set>

namespace firn::plans {

namespace {

using kernels::ConvProblem;

// A correlation of `side` to its result, or with `up` the transposed one from `side`.
ConvProblem conv(int64_t N, int64_t side, int64_t in, int64_t out, int K, int stride, int pad, DType type,
                 bool up = false) {
  const int64_t other = up ? (side - 1) * stride + K : (side + 2 * pad - K) / stride + 1;
  const int64_t big = up ? other : side, small = up ? side : other;
  return {.N = N,
          .H = big,
          .W = big,
          .I = up ? out : in,
          .OH = small,
          .OW = small,
          .O = up ? in : out,
          .KH = K,
          .KW = K,
          .stride = stride,
          .pad_y = pad,
          .pad_x = pad,
          .swapped = up,
          .gain = 0.5,
          .type = type};
}

std::string key_of(const ConvProblem& p) {
  return fmt::format("{} {} {} {} {} {} {} {} {}", p.H, p.I, p.OH, p.O, p.KH, p.stride, p.pad_y, p.swapped,
                     name_of(p.type));
}

template <class Key>
std::vector<Layer> distinct(Key key) {
  std::vector<Layer> all;
  std::set<std::string> seen;
  for (const int channel_base : {16384, 32768})
    for (const int side : {32, 64, 128, 256})
      for (const Layer& l : layers({.height = side, .channel_base = channel_base, .activation_type = DType::bf16}, 16))
        if (seen.insert(key(l)).second) all.push_back(l);
  return all;
}

}  // namespace

std::vector<Layer> layers(const StyleGan2Options& o, int64_t N) {
  std::vector<Layer> all;
  const std::string prefix = fmt::format("{} / {}: ", o.height, o.channel_base);
  for (const int size : o.blocks()) {
    const DType type = size > 4 ? o.activation_type : DType::f32;
    const int64_t c = o.channels(size), half = o.channels(size / 2);
    const auto add = [&](const char* name, const ConvProblem& p, bool styled, bool biased, bool added = false) {
      all.push_back({fmt::format("{}{}", prefix, fmt::format(fmt::runtime(name), size)), p, styled, biased, added});
    };
    add("G b{}.conv1", conv(N, size, c, c, 3, 1, 1, type), true, false);
    if (size == 4) {
      add("D b{}.conv", conv(N, size, c + o.mbstd_channels, c, 3, 1, 1, type), false, true);
      continue;
    }
    add("G b{}.conv0", conv(N, size / 2, half, c, 3, 2, 0, type, true), false, false);
    add("D b{}.conv0", conv(N, size, c, c, 3, 1, 1, type), false, true);
    add("D b{}.conv1", conv(N, size + 1, c, half, 3, 2, 0, type), false, true);
    add("D b{}.skip", conv(N, size / 2, c, half, 1, 1, 0, type), false, false, true);
  }
  return all;
}

std::vector<Layer> all_layers() {
  return distinct(
      [](const Layer& l) { return fmt::format("{} {} {} {}", key_of(l.problem), l.styled, l.biased, l.added); });
}

std::vector<Layer> all_problems() {
  return distinct([](const Layer& l) { return key_of(l.problem); });
}

}  // namespace firn::plans
