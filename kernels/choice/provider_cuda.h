// What the providers on CUDA share: what a stream is doing, a stopwatch, a choice among kernels, the name of the GPU.
#pragma once
#include <bit>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/choice/provider_choice.h"
#include "kernels/device/memory.h"

namespace firn::kernels {

bool is_capturing(const Stream&);

// The stopwatch for this stream; empty while the stream is captured, when nothing may wait.
Timer timer(const Stream&);

// Whether a way, which is run by itself, gives the `count` numbers y that another one gave, as far as rounding goes; if
// not, a warning on stderr names it, and `what` it is a way of.
bool agrees(const Stream&, const std::string& what, const Candidate& way, bf16* y, int64_t count, const void* expected);

// Ways to compute `count` numbers y.
struct Ways {
  std::span<const Candidate> all;
  size_t trusted;  // which of them; it is always possible
  bf16* y;
  int64_t count;
  std::function<std::shared_ptr<const void>()> expected;  // runs the trusted one, in memory of its own
};

// The index of the way that is fastest on the stream's GPU for what `what` names, chosen as by choose(). Before any
// is chosen for the first time it must agree with the trusted one; a warning on stderr names one that does not. Nothing
// can be held against anything while the stream is captured: the first way is then taken as it is. On a dry stream it
// is the trusted one.
size_t fastest(const Stream&, const std::string& what, const Ways&);

// The largest power of two, up to `most`, that the addresses of all these operands are multiples of: an operand may be
// a part of a tensor.
template <class Operands, class Address = std::identity>
int64_t common_alignment(int64_t most, const Operands& operands, Address address = {}) {
  auto bits = static_cast<uintptr_t>(most);
  for (const auto& o : operands) bits |= reinterpret_cast<uintptr_t>(std::invoke(address, o));
  return int64_t{1} << std::countr_zero(bits);
}

std::string driver_version(const Stream&);
std::string device_name(const Stream&);  // "NVIDIA H100 80GB HBM3 sm_90"

namespace cudnn {
size_t version();
}

}  // namespace firn::kernels
