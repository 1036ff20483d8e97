#include "engine/random.h"

#include "base/error.h"
#include "kernels/ops/random.h"

namespace firn {

namespace {
uint64_t draw(Rng& rng) {
  uint32_t words[4];
  kernels::philox(rng.seed, rng.offset++, 0, words);
  return uint64_t{words[0]} << 32 | words[1];
}
}  // namespace

double Rng::uniform() { return static_cast<double>(draw(*this) >> 11) * 0x1p-53; }

int64_t Rng::integer(int64_t lo, int64_t hi) {
  return lo + static_cast<int64_t>(draw(*this) % static_cast<uint64_t>(hi - lo));
}

Tensor randn(Shape shape, Rng& rng, DType type, const Device& device) {
  Tensor t = Tensor::empty(std::move(shape), type, device);
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    run(t.stream(), kernels::Normal<T>{t.mutable_as<T>(), t.count(), rng.seed, rng.offset++ - rng.start, rng.origin});
  });
  return t;
}

Tensor uniform(Shape shape, double lo, double hi, Rng& rng, DType type, const Device& device) {
  if (!(lo <= hi)) throw ShapeError(fmt::format("uniform: nothing lies between {:g} and {:g}", lo, hi));
  Tensor t = Tensor::empty(std::move(shape), type, device);
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    run(t.stream(), kernels::Uniform<T>{t.mutable_as<T>(), t.count(), static_cast<acc_t<T>>(lo),
                                        static_cast<acc_t<T>>(hi), rng.seed, rng.offset++ - rng.start, rng.origin});
  });
  return t;
}

}  // namespace firn
