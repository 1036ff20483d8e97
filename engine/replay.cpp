#include "engine/replay.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"

namespace firn {

Replay::Replay(const Device& device, std::shared_ptr<Arena> arena, Communicator& processes)
    : device_(device), arena_(std::move(arena)), processes_(processes), origin_(device, sizeof(uint64_t)) {}

void Replay::run(Rng& rng, const std::function<void(Rng&)>& body) {
  kernels::set_values<uint64_t>(device_.stream(), origin_.data, std::span(&rng.offset, 1));
  Rng counted{rng.seed, rng.offset, static_cast<const uint64_t*>(origin_.data), rng.offset};
  if (device_.is_cuda() && runs_ > 1 && !refused_ && (!graph_ || block_.lock() != arena_->block))
    try_record(counted, body);
  if (!device_.is_cuda() || runs_ == 0 || refused_) {
    body(counted);
    draws_ = counted.offset - rng.offset;
  } else if (runs_ == 1) {
    const kernels::ArenaRecording recording(device_.stream());
    const kernels::WeightCacheScope scope;
    body(counted);
    scope.drop();
    plan_ = recording.plan();
    // Blocks that are alike in size are replaced, and graphs in them recorded again, at the same time in all processes.
    for (const std::string& size : processes_.gather(std::to_string(plan_.size)))
      plan_.size = std::max(plan_.size, size_t(std::stoull(size)));
  } else {
    for (const auto& weak : weights_)
      if (const auto cache = weak.lock()) cache->refresh();
    graph_->launch();
    kernels::forget_weight_caches();  // the replay wrote what no host counter saw
  }
  rng.offset += draws_;
  ++runs_;
}

void Replay::try_record(Rng rng, const std::function<void(Rng&)>& body) {
  std::string why_not;
  try {
    record(rng, body);
  } catch (const kernels::GraphError& e) {
    why_not = e.what();
  }
  const std::vector<std::string> all = processes_.gather(why_not);
  const auto refusal = std::ranges::find_if(all, [](const std::string& why) { return !why.empty(); });
  if (refusal == all.end()) return;
  graph_ = nullptr;
  refused_ = true;
  kernels::forget_weight_caches();  // what was to be written into them was not
  if (processes_.rank() > 0) return;
  std::fputs(fmt::format("warning: {}; a phase of training runs without one, which is slower\n", *refusal).c_str(),
             stderr);
}

void Replay::record(Rng& rng, const std::function<void(Rng&)>& body) {
  graph_ = nullptr;
  if (!arena_->block || arena_->block->size() < plan_.size) {
    arena_->block = nullptr;  // graphs in it are recorded again before they run
    kernels::trim(device_.stream());
    arena_->block = std::make_shared<kernels::ArenaBlock>(device_.stream(), plan_.size);
  }
  block_ = arena_->block;
  const kernels::ArenaPlayback playback(plan_, *arena_->block);
  const kernels::WeightCacheScope scope;  // ends first: what it empties lies in the arena
  graph_ = std::make_unique<kernels::Graph>(device_.stream(), [&] {
    body(rng);
    scope.drop();
    playback.require_all_released();
  });
  weights_ = scope.used();
}

}  // namespace firn
