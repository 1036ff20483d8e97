#include "kernels/packed_weights.h"

#include "kernels/error.h"
#include "kernels/memory.h"

namespace firn::kernels {

std::shared_ptr<void> packed_weights(const Stream& stream, const ConvProblem& p, const void* w, WeightCache& cache) {
  const bool may_be_kept = cache.has_optimizer && p.type == DType::bf16 && !p.swapped;
  if (may_be_kept && cache.rounded.data && cache.rounded.gain == p.gain && cache.rounded.version == cache.version)
    return cache.rounded.data;
  std::shared_ptr<void>& entry = cache.entries[fmt::format("packed {} {} {}", name_of(p.type), p.swapped, p.gain)];
  if (entry) return entry;
  const size_t bytes = size_of(p.type) * static_cast<size_t>(p.O * p.KH * p.KW * p.I);
  std::shared_ptr<void> packed(allocate(stream, bytes), [stream, bytes](void* d) { release(stream, d, bytes); });
  const auto repack = [&]<class T>(T* to) {
    run(stream, RepackWeights<T, float>{to, static_cast<const float*>(w), p.O, p.I, p.KH * p.KW, p.swapped,
                                        static_cast<float>(p.gain)});
  };
  if (p.type == DType::bf16)
    repack(static_cast<bf16*>(packed.get()));
  else
    repack(static_cast<float*>(packed.get()));
  if (may_be_kept && !cache.rounded.data) cache.rounded = {packed, p.gain, cache.version};
  return entry = packed;
}

}  // namespace firn::kernels
