#include "kernels/conv/packed_weights.h"

#include "base/error.h"
#include "kernels/device/memory.h"

namespace firn::kernels {

namespace {

void repack(const Stream& stream, const ConvProblem& p, void* to, const void* w) {
  const auto typed = [&]<class T>(T* y) {
    run(stream, RepackWeights<T, float>{y, static_cast<const float*>(w), p.O, p.I, p.KH * p.KW, p.swapped,
                                        static_cast<float>(p.gain)});
  };
  if (p.type == DType::bf16)
    typed(static_cast<bf16*>(to));
  else
    typed(static_cast<float*>(to));
}

}  // namespace

std::shared_ptr<void> packed_weights(const Stream& stream, const ConvProblem& p, const void* w, WeightCache& cache) {
  const bool may_be_kept = cache.has_optimizer && p.type == DType::bf16 && !p.swapped;
  RoundedCopy& kept = cache.rounded;
  if (may_be_kept && kept.data && kept.gain == p.gain && (kept.written || kept.epoch == cache.epoch)) {
    if (kept.version != cache.version) refresh(stream, kept, w, p.O * p.KH * p.KW * p.I, cache.version);
    return kept.data;
  }
  std::shared_ptr<void>& entry = cache.entries[fmt::format("packed {} {} {}", name_of(p.type), p.swapped, p.gain)];
  if (!entry) {
    const size_t bytes = size_of(p.type) * static_cast<size_t>(p.O * p.KH * p.KW * p.I);
    entry = {allocate(stream, bytes), [stream, bytes](void* d) { release(stream, d, bytes); }};
    repack(stream, p, entry.get(), w);
  }
  if (may_be_kept && cache.lasting && !kept.written) kept = {entry, p.gain, cache.version, cache.epoch};
  return entry;
}

void refresh(const Stream& stream, RoundedCopy& copy, const void* w, int64_t count, uint64_t version) {
  const int64_t row = count % 64 == 0 ? 64 : 1;
  repack(stream, {.I = row, .O = count / row, .KH = 1, .KW = 1, .gain = copy.gain, .type = DType::bf16},
         copy.data.get(), w);
  copy.version = version;
}

}  // namespace firn::kernels
