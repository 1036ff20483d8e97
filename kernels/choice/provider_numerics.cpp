#include "kernels/choice/provider_numerics.h"

#include <algorithm>
#include <deque>
#include <mutex>

namespace firn::kernels {

Numerics& initial_numerics() {
  static Numerics n;
  return n;
}

const Numerics& numerics(const Stream& stream) {
  static const Numerics plain;
  return stream.numerics ? *stream.numerics : plain;
}

Stream with(Stream stream, const Numerics& n) {
  static std::mutex mutex;
  static std::deque<Numerics>& all = *new std::deque<Numerics>;  // a few; streams of static tensors may refer to them
  const std::lock_guard lock(mutex);
  const auto known = std::ranges::find(all, n);
  stream.numerics = known != all.end() ? &*known : &all.emplace_back(n);
  return stream;
}

}  // namespace firn::kernels
