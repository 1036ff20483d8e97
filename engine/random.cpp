#include "engine/random.h"

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
  dispatch_acc(type, [&](auto tag) {
    using T = decltype(tag);
    run(t.stream(), kernels::Normal<T>{t.mutable_as<T>(), t.count(), rng.seed, rng.offset++ - rng.start, rng.origin});
  });
  return t;
}

}  // namespace firn
