#include "kernels/upfirdn2d.h"

#include "kernels/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void Upfirdn2d<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / OH, oy = t.block() % OH;
  const int64_t base_y = oy * down - pad_y;
  const T* xn = x + n * H * W * C;
  T* row = y + t.block() * OW * C;
  // Few channels: threads share out pixels and channels together. Many: a vector of channels at a time.
  const auto pixel = [&](int64_t ox, int64_t c, auto width) {
    A s[width] = {};
    const int64_t base_x = ox * down - pad_x;
    for (int i = 0; i < taps; ++i) {
      const int64_t uy = base_y + i;
      if (uy < 0 || uy % up || uy / up >= H) continue;
      for (int j = 0; j < taps; ++j) {
        const int64_t ux = base_x + j;
        if (ux < 0 || ux % up || ux / up >= W) continue;
        const A k = gain * f[i] * f[j];
        const T* p = xn + (uy / up * W + ux / up) * C + c;
        for (int v = 0; v < width; ++v) s[v] += k * A(p[v]);
      }
    }
    for (int v = 0; v < width; ++v) row[ox * C + c + v] = T(s[v]);
  };
  if (C < Team::vector || Team::vector == 1) {
    for (int64_t q = t.rank(); q < OW * C; q += t.size()) pixel(q / C, q % C, std::integral_constant<int, 1>{});
  } else {
    for (int64_t ox = 0; ox < OW; ++ox) for_vectors(t, C, [&](int64_t c, auto width) { pixel(ox, c, width); });
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Upfirdn2d<float>);
FIRN_KERNEL(Upfirdn2d<bf16>);
FIRN_KERNEL(Upfirdn2d<double>);
