#include "kernels/conv/conv_stride2.h"

#include <array>

#include "base/error.h"
#include "kernels/conv/weight_cache.h"
#include "kernels/device/memory.h"
#include "kernels/ops/elementwise.h"

namespace firn::kernels {

namespace {

// An even output position 2i sees tap 2 from small[i-1] and tap 0 from small[i]; an odd one sees tap 1 from small[i].
struct PhaseWeights {
  Stream stream;
  float* data = nullptr;  // [I,2-a,2-b,O]
  size_t bytes = 0;
  WeightCache cache;
  ~PhaseWeights() {
    if (data) release(stream, data, bytes);
  }
};
using Phases = std::array<PhaseWeights, 4>;

void select_taps(const Stream& stream, const ConvProblem& p, const float* w, int a, int b, PhaseWeights& phase) {
  const int64_t KH = 2 - a, KW = 2 - b;
  phase.stream = stream;
  phase.bytes = sizeof(float) * static_cast<size_t>(p.I * KH * KW * p.O);
  phase.data = static_cast<float*>(allocate(stream, phase.bytes));
  // Strides of w over (i, ky, kx, o); the taps run backwards from 2 in steps of 2, or are tap 1 alone.
  const int64_t o = p.swapped ? 1 : 9 * p.I, i = p.swapped ? 9 * p.O : 1, x = p.swapped ? p.O : p.I, y = 3 * x;
  const float* first = w + (a ? y : 2 * y) + (b ? x : 2 * x);
  run(stream, StridedCopy<float>{
                  phase.data, first, 4, {p.I, KH, KW, p.O}, {KH * KW * p.O, KW * p.O, p.O, 1}, {i, -2 * y, -2 * x, o}});
}

std::shared_ptr<Phases> select_phases(const Stream& stream, const ConvProblem& p, const float* w) {
  const auto phases = std::make_shared<Phases>();
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 2; ++b) select_taps(stream, p, w, a, b, (*phases)[static_cast<size_t>(2 * a + b)]);
  return phases;
}

template <class T>
void interleave(const Stream& stream, const ConvProblem& p, int a, int b, T* big, const T* part) {
  const int64_t rows = p.OH + 1 - a, columns = p.OW + 1 - b, C = p.I;
  run(stream, StridedCopy<T>{big + (a * p.W + b) * C,
                             part,
                             4,
                             {p.N, rows, columns, C},
                             {p.H * p.W * C, 2 * p.W * C, 2 * C, 1},
                             {rows * columns * C, columns * C, C, 1}});
}

}  // namespace

bool halves(const ConvProblem& p) {
  return p.stride == 2 && p.pad_y == 0 && p.pad_x == 0 && p.H == 2 * p.OH + 1 && p.W == 2 * p.OW + 1;
}

bool has_phases(const ConvProblem& p) {
  return p.groups == 1 && p.KH == 3 && p.KW == 3 && halves(p) && p.I % 16 == 0 && p.O % 16 == 0;
}

void conv_backward_data_by_phases(const Stream& stream, const ConvProblem& p, void* big, const void* small,
                                  const void* w, WeightCache& cache) {
  // The same weights may serve as [O,3,3,I] and, of another problem, as [I,3,3,O].
  const auto entry = cache.entry(fmt::format("stride2 phases {} {}{}", p.O, p.I, p.swapped ? " swapped" : ""),
                                 [&] { return select_phases(stream, p, static_cast<const float*>(w)); });
  Phases& phases = *static_cast<Phases*>(entry.get());
  const size_t bytes = size_of(p.type) * static_cast<size_t>(p.N * (p.OH + 1) * (p.OW + 1) * p.I);
  const Scratch part(stream, bytes);
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 2; ++b) {
      PhaseWeights& phase = phases[static_cast<size_t>(2 * a + b)];
      const ConvProblem q{.N = p.N,
                          .H = p.OH,
                          .W = p.OW,
                          .I = p.O,
                          .OH = p.OH + 1 - a,
                          .OW = p.OW + 1 - b,
                          .O = p.I,
                          .KH = 2 - a,
                          .KW = 2 - b,
                          .stride = 1,
                          .pad_y = 1 - a,
                          .pad_x = 1 - b,
                          .gain = p.gain,
                          .type = p.type};
      conv_forward(stream, q, part.data(), small, phase.data, phase.cache);
      dispatch(p.type, [&](auto tag) {
        using T = decltype(tag);
        interleave(stream, p, a, b, static_cast<T*>(big), static_cast<const T*>(part.data()));
      });
    }
}

}  // namespace firn::kernels
