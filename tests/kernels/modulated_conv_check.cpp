#include "tests/kernels/modulated_conv_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <random>
#include <tuple>

#include "base/error.h"
#include "kernels/device/graph.h"
#include "kernels/device/memory.h"
#include "kernels/styled/conv_down.h"
#include "kernels/styled/modulated_conv_sm90.h"

namespace firn::tests {

namespace {

using kernels::ConvTile;
using kernels::ModulatedConvProblem;

constexpr uint16_t kPoison = 0x7fc1;  // a NaN that no kernel makes
constexpr size_t kMargin = 64;        // elements around y that must stay as they are

// A host array and its copy on the device.
template <class T>
class Array {
 public:
  Array(const Stream& stream, std::vector<T> v) : host(std::move(v)), stream_(stream) {
    device_ = static_cast<T*>(kernels::allocate(stream, bytes()));
    kernels::copy_from_host(stream, device_, host.data(), bytes());
  }
  ~Array() { kernels::release(stream_, device_, bytes()); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* device(bool given = true) { return given ? device_ : nullptr; }
  void fetch() { kernels::copy_to_host(stream_, host.data(), device_, bytes()); }
  std::vector<T> host;

 private:
  size_t bytes() const { return host.size() * sizeof(T); }
  Stream stream_;
  T* device_;
};

struct Draw {
  std::mt19937 random{17};
  std::normal_distribution<float> normal;
  template <class T>
  std::vector<T> operator()(int64_t count, float mean = 0) {
    std::vector<T> v(static_cast<size_t>(count));
    for (T& x : v) x = T(mean + normal(random));
    return v;
  }
};

}  // namespace

const char* ModulatedConvCase::kernel() const {
  return by == same_sm90 ? "modulated_conv_sm90"
         : by == up      ? "modulated_conv_up"
         : by == down    ? "conv_down"
                         : "modulated_conv";
}

std::vector<bf16> plain_conv(const ModulatedConvProblem& p, const std::vector<bf16>& x, const std::vector<bf16>& w) {
  const Stream stream = kernels::cuda_stream(0);
  Array<bf16> from(stream, x), weights(stream, w),
      y(stream, std::vector<bf16>(static_cast<size_t>(p.N * p.H * p.W * p.O)));
  kernels::modulated_conv(stream, p, {.y = y.device(), .x = from.device(), .w = weights.device()});
  y.fetch();
  return y.host;
}

double sum_error(int64_t terms) { return 0x1p-23 * static_cast<double>(4 + terms / 16); }

double modulated_conv_error(const ModulatedConvCase& c) {
  const ModulatedConvProblem& p = c.p;
  const Stream stream = kernels::cuda_stream(0);
  const int64_t P = p.H * p.W, taps = p.K * p.K;
  const int64_t H = c.by == c.up ? p.H / 2 : c.by == c.down ? p.H * 2 : p.H;  // of x
  const int64_t W = c.by == c.up ? p.W / 2 : c.by == c.down ? p.W * 2 : p.W;
  const kernels::Taps f{.x = {0.5f, 1, 2, 0.25f}, .y = {1, -0.5f, 0.25f, 0.125f}};
  kernels::Epilogue<float> e{.noise_images = c.noise_for_all ? 1 : p.N};
  if (!c.linear) e.slope = 0.2f, e.gain = 1.4f, e.clamp = c.clamped ? 6 : -1;
  Draw draw;
  Array<bf16> x(stream, draw.operator()<bf16>(p.N * H * W * p.I)), w(stream, draw.operator()<bf16>(p.O * taps * p.I));
  Array<float> s(stream, draw.operator()<float>(p.N * p.I, 1)), d(stream, draw.operator()<float>(p.N * p.O, 1)),
      noise(stream, draw.operator()<float>(e.noise_images * P)), strength(stream, {0.5f}),
      b(stream, draw.operator()<float>(p.O));
  Array<bf16> addend(stream, draw.operator()<bf16>(p.N * P * p.O));
  bf16 poison;
  poison.bits = kPoison;
  Array<bf16> y(stream, std::vector<bf16>(static_cast<size_t>(p.N * P * p.O) + 2 * kMargin, poison));
  e.d = d.device(c.d), e.b = b.device(c.b), e.addend = addend.device(c.addend);
  e.noise = noise.device(c.noise), e.strength = strength.device(c.noise);
  const kernels::ModulatedConvOperands a{
      .y = y.device() + kMargin, .x = x.device(), .w = w.device(), .s = s.device(c.s), .then = e};
  const auto launch = [&] {
    if (c.by == c.same_sm90) return kernels::modulated_conv_sm90(stream, p, a, c.outputs);
    if (c.by == c.up) return kernels::modulated_conv_up(stream, p, f, a);
    if (c.by == c.down) return kernels::conv_down(stream, p, f, a);
    kernels::modulated_conv(stream, p, a, c.tile);
  };
  std::optional<kernels::Graph> graph;
  if (c.recorded)
    graph.emplace(stream, launch), graph->launch();
  else
    launch();
  y.fetch();
  for (size_t i = 0; i < kMargin; ++i)
    if (y.host[i].bits != kPoison || y.host[y.host.size() - 1 - i].bits != kPoison) return INFINITY;

  const auto at = [](const auto& v, int64_t i) { return double(v.host[static_cast<size_t>(i)]); };
  double worst = 0;
  // What the weights of a place of the window are multiplied by, and the sizes of what adds up to it.
  std::vector<double> u(static_cast<size_t>(taps * p.I)), sizes(u.size());
  const auto scaled = [&](int64_t n, int64_t h, int64_t v, int64_t i) -> double {  // zero outside
    if (h < 0 || h >= H || v < 0 || v >= W) return 0;
    const double scale = c.s ? float(bf16(s.host[static_cast<size_t>(n * p.I + i)])) : 1;
    return float(bf16(float(at(x, ((n * H + h) * W + v) * p.I + i) * scale)));  // as the formula says
  };
  const auto filtered = [&](int64_t n, int64_t h, int64_t v, int64_t i, int spacing) {
    std::pair<double, double> sum{0, 0};
    for (int64_t j = 0; j < 4; ++j)
      for (int64_t k = 0; k < 4; ++k) {
        if (spacing == 2 && ((h + j) % 2 || (v + k) % 2)) continue;
        const double term = double(f.y[j]) * f.x[k] * scaled(n, (h + j) / spacing, (v + k) / spacing, i);
        sum.first += term, sum.second += std::abs(term);
      }
    return sum;
  };
  for (int64_t n = 0; n < p.N; ++n)
    for (int64_t q = 0; q < P; ++q) {
      for (int64_t k = 0; k < taps; ++k)
        for (int64_t i = 0; i < p.I; ++i) {
          const int64_t ky = k / p.K, kx = k % p.K;
          double &value = u[static_cast<size_t>(k * p.I + i)], &size = sizes[static_cast<size_t>(k * p.I + i)];
          if (c.by == c.up) {  // z[2 q + k] = u[q], and y[p] takes z[p - 1] to z[p + 2]
            std::tie(value, size) = filtered(n, q / p.W - 1 - ky, q % p.W - 1 - kx, i, 2);
          } else if (c.by == c.down) {
            value = float(bf16(float(filtered(n, q / p.W * 2 + ky - 2, q % p.W * 2 + kx - 2, i, 1).first)));
            size = std::abs(value);
          } else {
            value = scaled(n, q / p.W + ky - p.K / 2, q % p.W + kx - p.K / 2, i);
            size = std::abs(value);
          }
        }
      for (int64_t o = 0; o < p.O; ++o) {
        double z = 0, size = 0;
        for (int64_t k = 0; k < taps * p.I; ++k) {
          const double weight = at(w, o * taps * p.I + k);
          z += weight * u[static_cast<size_t>(k)];
          size += std::abs(weight) * sizes[static_cast<size_t>(k)];
        }
        const double dn = c.d ? at(d, n * p.O + o) : 1;
        const double t =
            dn * z + (c.noise ? 0.5 * at(noise, (e.noise_images > 1 ? n : 0) * P + q) : 0) + (c.b ? at(b, o) : 0);
        double act = e.gain * (t > 0 ? t : e.slope * t);
        if (e.clamp >= 0) act = std::clamp(act, -double(e.clamp), double(e.clamp));
        const double sum = c.addend ? act + at(addend, (n * P + q) * p.O + o) : act;
        // y is rounded once, to 8 bits, and again with an addend.
        const double allowed = 0x1p-8 * (std::abs(act) + (c.addend ? std::abs(sum) : 0)) +
                               e.gain * sum_error(taps * p.I) * (std::abs(dn) * size + 1);
        const double error = std::abs(sum - at(y, int64_t(kMargin) + (n * P + q) * p.O + o)) / allowed;
        if (!(error <= worst)) worst = error;  // a NaN counts
      }
    }
  return std::isnan(worst) ? INFINITY : worst;
}

std::vector<ModulatedConvCase> modulated_conv_cases() {
  const ModulatedConvProblem full{.N = 2, .H = 5, .W = 5, .I = 32, .O = 24, .K = 3};
  const auto with = [&](auto change) {
    ModulatedConvProblem p = full;
    change(p);
    return p;
  };
  std::vector<ModulatedConvCase> cases{
      {.name = "all", .p = full},
      {.name = "without_scales", .p = full, .s = false},
      {.name = "without_demodulation", .p = full, .d = false},
      {.name = "without_noise", .p = full, .noise = false},
      {.name = "without_bias", .p = full, .b = false},
      {.name = "plain", .p = full, .s = false, .d = false, .noise = false, .b = false, .linear = true},
      {.name = "noise_for_all", .p = full, .noise_for_all = true},
      {.name = "samples_share_tiles", .p = with([](auto& p) { p.N = 3, p.H = 8, p.W = 9, p.I = 64; })},
      {.name = "one_sample_a_tile", .p = with([](auto& p) { p.H = p.W = 8, p.I = 64, p.O = 64; })},
      {.name = "with_addend", .p = with([](auto& p) { p.K = 1; }), .addend = true, .clamped = false},
      {.name = "k1", .p = with([](auto& p) { p.K = 1, p.H = 9, p.O = 8; })},
      {.name = "k1_many_channels", .p = with([](auto& p) { p.K = 1, p.I = 192, p.O = 72; })},
      {.name = "one_pixel", .p = with([](auto& p) { p.N = 3, p.H = p.W = 1; })},
      {.name = "small_images", .p = with([](auto& p) { p.N = 9, p.H = p.W = 4; })},
      {.name = "recorded", .p = with([](auto& p) { p.K = 1; }), .recorded = true},
      {.name = "longest_sums", .p = with([](auto& p) { p.N = 1, p.H = p.W = 4, p.I = 512; })},
      {.name = "one_row", .p = with([](auto& p) { p.N = 1, p.H = 1, p.W = 70; })},
  };
  for (const auto& [name, tile] : {std::pair{"m128n64", ConvTile::m128n64}, {"m128n128", ConvTile::m128n128}}) {
    cases.push_back({.name = fmt::format("{}_ends", name),
                     .p = with([](auto& p) { p.N = 3, p.H = 8, p.W = 9, p.O = 136; }),
                     .tile = tile});
    cases.push_back({.name = fmt::format("{}_whole", name),
                     .p = with([](auto& p) { p.H = 8, p.W = 16, p.O = 128, p.K = 1; }),
                     .tile = tile});
  }
  for (size_t i = 0, count = cases.size(); i < count; ++i) {
    ModulatedConvCase c = cases[i];
    c.name += "_sm90";
    c.p.I = (c.p.I + 63) / 64 * 64;
    c.by = c.same_sm90;
    c.outputs = c.tile == ConvTile::m128n64 ? 64 : c.tile == ConvTile::m128n128 ? 128 : 0;
    cases.push_back(c);
  }
  cases.push_back({.name = "m128n256_ends_sm90",
                   .p = with([](auto& p) { p.H = 9, p.W = 17, p.I = 64, p.O = 264; }),
                   .by = ModulatedConvCase::same_sm90,
                   .outputs = 256});
  // Images in one tile and in several, at and off their edges; more channels than the stages hold.
  for (const auto by : {ModulatedConvCase::up, ModulatedConvCase::down}) {
    const bool up = by == ModulatedConvCase::up;
    const auto add = [&](const char* name, const ModulatedConvProblem& p) -> ModulatedConvCase& {
      cases.push_back({.name = fmt::format("{}_{}", name, up ? "up" : "down"), .p = p, .s = up, .by = by});
      return cases.back();
    };
    const ModulatedConvProblem one = with([&](auto& p) { p.H = up ? 10 : 5, p.W = up ? 12 : 6; });
    add("all", one);
    add("without_scales", one).s = false;
    add("without_demodulation", one).d = false;
    add("without_noise", one).noise = false;
    add("without_bias", one).b = false;
    if (!up) add("with_addend", one).addend = true;
    add("noise_for_all", one).noise_for_all = true;
    add("recorded", one).recorded = true;
    ModulatedConvCase& plain = add("plain", one);
    plain.s = plain.d = plain.noise = plain.b = false;
    plain.linear = true;
    add("one_pixel", with([&](auto& p) { p.H = p.W = up ? 2 : 1, p.I = 64, p.O = 8; }));
    add("tiles", with([&](auto& p) { p.N = 1, p.H = up ? 34 : 17, p.W = up ? 30 : 9; }));
    add("whole_tiles", with([&](auto& p) { p.H = up ? 28 : 16, p.W = up ? 56 : 16, p.O = 16; }));
    add("columns", with([&](auto& p) { p.H = up ? 6 : 3, p.W = 4, p.I = 160, p.O = up ? 40 : 136; }));
  }
  return cases;
}

std::vector<ModulatedConvCase> smallest_modulated_conv_cases() {
  std::vector<ModulatedConvCase> cases;
  for (const auto& [name, tile] :
       {std::pair{"m64n64", ConvTile::m64n64}, {"m128n64", ConvTile::m128n64}, {"m128n128", ConvTile::m128n128}})
    // All stages are filled again, and the last to be read lies where the tile of y will be.
    for (const char* scales : {"none", "one", "each"}) {
      const bool each = scales[0] == 'e';
      cases.push_back({.name = fmt::format("{}_{}", name, scales),
                       .p = {.N = each ? 2 : 1, .H = 5, .W = each ? 7 : 13, .I = 160, .O = 64, .K = 1},
                       .tile = tile,
                       .s = scales[0] != 'n'});
    }
  for (const bool scaled : {false, true})
    cases.push_back({.name = scaled ? "up_scaled" : "up",
                     .p = {.N = 1, .H = 4, .W = 20, .I = 160, .O = 16, .K = 3},
                     .s = scaled,
                     .by = ModulatedConvCase::up});
  cases.push_back({.name = "down",
                   .p = {.N = 1, .H = 4, .W = 3, .I = 64, .O = 128, .K = 3},
                   .s = false,
                   .by = ModulatedConvCase::down});
  // So are they here, by both halves of a double step: six steps for four stages, or eight for six.
  for (const int outputs : {64, 128, 256})
    for (const char* scales : {"none", "one", "each"}) {
      const bool each = scales[0] == 'e';
      const int64_t I = outputs == 64 ? 512 : 384;
      cases.push_back({.name = fmt::format("m128n{}_{}_sm90", outputs, scales),
                       .p = {.N = each ? 2 : 1, .H = 5, .W = each ? 7 : 13, .I = I, .O = outputs, .K = 1},
                       .s = scales[0] != 'n',
                       .by = ModulatedConvCase::same_sm90,
                       .outputs = outputs});
    }
  return cases;
}

}  // namespace firn::tests
