#include "kernels/ops/control.h"

#include <algorithm>
#include <cstring>

namespace firn::kernels {

void set_bytes(const Stream& stream, void* to, std::span<const std::byte> from) {
  constexpr size_t most = SetWords::capacity * sizeof(uint32_t);
  for (size_t begin = 0; begin < from.size(); begin += most) {
    const auto part = from.subspan(begin, std::min(most, from.size() - begin));
    SetWords k{reinterpret_cast<uint32_t*>(static_cast<std::byte*>(to) + begin), int64_t(part.size() / 4), {}};
    std::memcpy(k.words, part.data(), part.size());
    run(stream, k);
  }
}

}  // namespace firn::kernels
