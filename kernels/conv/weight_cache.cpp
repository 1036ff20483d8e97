#include "kernels/conv/weight_cache.h"

#include "base/error.h"
#include "kernels/conv/packed_weights.h"
#include "kernels/device/memory.h"

namespace firn::kernels {

namespace {

uint64_t epoch = 0;  // one thread drives the engine
WeightCacheScope* scope = nullptr;

void repack(const Stream& stream, const ConvProblem& p, void* to, const void* w) {
  const auto typed = [&]<class T>(T* y) {
    repack_weights(stream, p, y, static_cast<const float*>(w), p.group_outputs(), p.group_inputs(), p.gain);
  };
  if (p.type == DType::bf16)
    typed(static_cast<bf16*>(to));
  else
    typed(static_cast<float*>(to));
}

}  // namespace

void WeightCache::begin_use() {
  if (entries_version_ == version_ && entries_epoch_ == epoch) return;
  entries_.clear();
  entries_version_ = version_;
  entries_epoch_ = epoch;
  if (scope) scope->used_.push_back(weak_from_this());
}

std::shared_ptr<void> WeightCache::entry(const std::string& name, const std::function<std::shared_ptr<void>()>& make) {
  begin_use();
  std::shared_ptr<void>& found = entries_[name];
  if (!found) found = make();
  return found;
}

std::shared_ptr<void> WeightCache::packed(const Stream& stream, const ConvProblem& p, const void* w) {
  begin_use();
  const bool may_be_rounded = has_optimizer_ && p.type == DType::bf16 && !p.swapped;
  if (may_be_rounded && rounded_.data && rounded_.gain == p.gain && (rounded_.kept || rounded_.epoch == epoch)) {
    refresh();
    return rounded_.data;
  }
  const auto made = entry(fmt::format("packed {} {} {}", name_of(p.type), p.swapped, p.gain), [&] {
    const size_t bytes = size_of(p.type) * static_cast<size_t>(p.weights());
    const std::shared_ptr<void> to(allocate(stream, bytes), [=](void* d) { release(stream, d, bytes); });
    repack(stream, p, to.get(), w);
    return to;
  });
  if (may_be_rounded && !scope && !rounded_.kept) rounded_ = {made, stream, w, p.weights(), p.gain, version_, epoch};
  return made;
}

WeightCache::Rounded WeightCache::rewritten() {
  rounded_.version = version_;
  rounded_.kept = rounded_.data != nullptr;
  return {static_cast<bf16*>(rounded_.data.get()), static_cast<float>(rounded_.gain)};
}

void WeightCache::refresh() {
  if (!rounded_.data || rounded_.version == version_) return;
  const int64_t row = rounded_.count % 64 == 0 ? 64 : 1;
  repack(rounded_.stream,
         {.I = row, .O = rounded_.count / row, .KH = 1, .KW = 1, .gain = rounded_.gain, .type = DType::bf16},
         rounded_.data.get(), rounded_.weights);
  rounded_.version = version_;
}

void forget_weight_caches() { ++epoch; }

WeightCacheScope::WeightCacheScope() {
  forget_weight_caches();
  scope = this;
}

WeightCacheScope::~WeightCacheScope() {
  drop();
  scope = nullptr;
  forget_weight_caches();
}

void WeightCacheScope::drop() const {
  for (const auto& weak : used_)
    if (const auto cache = weak.lock()) cache->entries_.clear();
}

}  // namespace firn::kernels
