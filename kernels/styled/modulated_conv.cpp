// Which tile computes a modulated convolution.
#include "kernels/styled/modulated_conv.h"

#include "base/error.h"

namespace firn::kernels {

namespace {

constexpr int64_t kEnoughBlocks = 128;  // about as many as a large GPU has multiprocessors; not measured

template <class F>
auto with_tile(ConvTile tile, F&& f) {
  using std::integral_constant;
  if (tile == ConvTile::m128n128) return f(integral_constant<int, 128>{}, integral_constant<int, 128>{});
  if (tile == ConvTile::m128n64) return f(integral_constant<int, 128>{}, integral_constant<int, 64>{});
  return f(integral_constant<int, 64>{}, integral_constant<int, 64>{});
}

bool has_room(const ModulatedConvProblem& p, ConvTile tile) {
  return with_tile(tile, [&](auto pixels, auto outputs) {
    return ModulatedConv<pixels, outputs, Scales::each>{p, {}}.shared_bytes() <= kLeastSharedLimit;
  });
}

// The largest tile that leaves no multiprocessor without work.
ConvTile choose(const ModulatedConvProblem& p) {
  for (const ConvTile tile : {ConvTile::m128n128, ConvTile::m128n64}) {
    if ((tile == ConvTile::m128n128 && p.O <= 64) || !has_room(p, tile)) continue;
    const int64_t blocks = with_tile(tile, [&](auto pixels, auto outputs) {
      return ModulatedConv<pixels, outputs, Scales::none>{p, {}}.blocks();
    });
    if (blocks >= kEnoughBlocks) return tile;
  }
  return ConvTile::m64n64;
}

bool aligned(const void* p, uintptr_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

}  // namespace

bool fits(const ModulatedConvProblem& p, ConvTile tile) {
  constexpr int64_t limit = int64_t{1} << 30;
  if ((p.K != 1 && p.K != 3) || p.I <= 0 || p.I % kConvChannels || p.O <= 0 || p.O % 8 || p.H <= 0 || p.W <= 0)
    return false;
  if (p.I >= limit / 9 || p.O >= limit || p.H >= limit || p.W >= limit || p.N >= limit) return false;
  if (p.H * p.W >= limit || p.N * p.H * p.W >= limit || p.W * p.I >= limit || p.N * p.I >= limit) return false;
  return has_room(p, tile == ConvTile::automatic ? ConvTile::m64n64 : tile);
}

void check_operands(const char* kernel, const ModulatedConvProblem& p, const ModulatedConvOperands& a, bool fits) {
  if (!fits || (a.then.noise_images != 1 && a.then.noise_images != p.N))
    throw ShapeError(fmt::format("{}: not made for {} images of {}x{}, {} to {} channels, K {}, {} noise images",
                                 kernel, p.N, p.H, p.W, p.I, p.O, p.K, a.then.noise_images));
  if (!aligned(a.x, 16) || !aligned(a.w, 16) || !aligned(a.y, 16) || !aligned(a.then.addend, 16) ||
      !aligned(a.then.d, 8) || !aligned(a.then.b, 8))
    throw ShapeError(
        fmt::format("{}: x, w, y and the addend must start at multiples of 16 bytes, d and b of 8", kernel));
}

void modulated_conv(const Stream& stream, const ModulatedConvProblem& p, const ModulatedConvOperands& a,
                    ConvTile tile) {
  check_operands("modulated_conv", p, a, fits(p, tile));
  if (tile == ConvTile::automatic) tile = choose(p);
  with_tile(tile, [&](auto pixels, auto outputs) {
    if (!a.s) {
      run(stream, ModulatedConv<pixels, outputs, Scales::none>{p, a});
    } else if (p.N == 1 || p.H * p.W % pixels == 0) {
      run(stream, ModulatedConv<pixels, outputs, Scales::one>{p, a});
    } else {
      run(stream, ModulatedConv<pixels, outputs, Scales::each>{p, a});
    }
  });
}

}  // namespace firn::kernels
