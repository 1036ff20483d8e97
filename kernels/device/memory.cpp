#include "kernels/device/memory.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/device/arena.h"
#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepBlocks = false;  // let the sanitizer see every free
#else
constexpr bool kKeepBlocks = true;
#endif

namespace firn::kernels {

namespace {

struct Pool {
  std::mutex mutex;
  std::unordered_map<size_t, std::vector<void*>> free_blocks;
  MemoryUse use;
  ArenaRecording* recording = nullptr;
  ArenaPlayback* playback = nullptr;
};

Pool& pool() {
  static Pool* p = new Pool;  // outlives static tensors
  return *p;
}

// Four classes per power of two: at most a quarter is wasted.
size_t size_class(size_t bytes) {
  if (bytes <= 256) return 256;
  const size_t step = std::bit_ceil(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

constexpr size_t kHugePage = size_t{2} << 20;

bool same(const Stream& a, const Stream& b) { return a.is_cuda == b.is_cuda && a.cuda == b.cuda; }

void* allocate_now([[maybe_unused]] const Stream& stream, size_t bytes, Pool& p) {
  const size_t size = size_class(bytes);
  const auto count = [&] {
    p.use.live += size;
    p.use.peak = std::max(p.use.peak, p.use.live);
  };
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    void* block = nullptr;
    check(cudaMallocAsync(&block, bytes, current(stream)));
    count();
    return block;
  }
#endif
  count();
  if (auto it = p.free_blocks.find(size); it != p.free_blocks.end() && !it->second.empty()) {
    void* block = it->second.back();
    it->second.pop_back();
    return block;
  }
  const bool huge = size >= kHugePage;
  void* block = std::aligned_alloc(huge ? kHugePage : 64, huge ? (size + kHugePage - 1) / kHugePage * kHugePage : size);
  if (!block) {
    p.use.live -= size;
    throw OutOfMemory(
        fmt::format("out of memory: {} MiB more are needed, {} MiB are in use", bytes >> 20, p.use.live >> 20));
  }
  if (huge) madvise(block, size, MADV_HUGEPAGE);
  return block;
}

void release_now([[maybe_unused]] const Stream& stream, void* block, size_t bytes, Pool& p) {
  const size_t size = size_class(bytes);
  p.use.live -= size;
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    // In destructors: an error here has nowhere to go.
    if (cudaFreeAsync(block, static_cast<cudaStream_t>(stream.cuda)) != cudaSuccess) cudaGetLastError();
    return;
  }
#endif
  if (kKeepBlocks) {
    p.free_blocks[size].push_back(block);
  } else {
    std::free(block);
  }
}

}  // namespace

void* allocate(const Stream& stream, size_t bytes) {
  if (bytes == 0) return nullptr;
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  if (ArenaPlayback* a = p.playback; a && same(stream, a->block_.stream())) {
    if (a->next_ == a->plan_.bytes.size() || a->plan_.bytes[a->next_] != bytes)
      throw DeviceError(fmt::format("a repeated sequence asked for {} bytes where {} were planned", bytes,
                                    a->next_ == a->plan_.bytes.size() ? 0 : a->plan_.bytes[a->next_]));
    ++a->live_;
    return a->block_.at(a->plan_.offsets[a->next_++]);
  }
  void* block = allocate_now(stream, bytes, p);
  if (ArenaRecording* r = p.recording; r && same(stream, r->stream_)) {
    r->live_[block] = r->lifetimes_.size();
    r->lifetimes_.push_back({bytes, 0});
  }
  return block;
}

void release(const Stream& stream, void* block, size_t bytes) {
  if (!block) return;
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  if (ArenaPlayback* a = p.playback; a && same(stream, a->block_.stream())) {
    if (a->block_.contains(block))
      --a->live_;
    else
      a->late_.push_back({block, bytes});
    return;
  }
  if (ArenaRecording* r = p.recording; r && same(stream, r->stream_))
    if (const auto it = r->live_.find(block); it != r->live_.end()) {
      r->lifetimes_[it->second].end = static_cast<int64_t>(r->lifetimes_.size());
      r->live_.erase(it);
    }
  release_now(stream, block, bytes, p);
}

ArenaRecording::ArenaRecording(const Stream& stream) : stream_(stream) { pool().recording = this; }
ArenaRecording::~ArenaRecording() { pool().recording = nullptr; }

ArenaPlan ArenaRecording::plan() const {
  if (!live_.empty())
    throw DeviceError(fmt::format("a sequence to be repeated left {} allocations behind", live_.size()));
  return plan_arena(lifetimes_);
}

ArenaPlayback::ArenaPlayback(const ArenaPlan& plan, const ArenaBlock& block) : plan_(plan), block_(block) {
  pool().playback = this;
}

ArenaPlayback::~ArenaPlayback() {
  pool().playback = nullptr;
  for (const Late& l : late_) release(block_.stream(), l.data, l.bytes);
}

void ArenaPlayback::require_all_released() const {
  if (live_ > 0) throw DeviceError(fmt::format("a repeated sequence left {} allocations behind", live_));
}

MemoryUse memory_use() {
  std::lock_guard lock(pool().mutex);
  return pool().use;
}

void reset_peak() {
  std::lock_guard lock(pool().mutex);
  pool().use.peak = pool().use.live;
}

void trim([[maybe_unused]] const Stream& stream) {
#ifdef FIRN_CUDA
  if (!stream.on_gpu()) return;
  cudaMemPool_t memory;
  check(cudaStreamSynchronize(current(stream)));
  check(cudaDeviceGetDefaultMemPool(&memory, stream.device));
  check(cudaMemPoolTrimTo(memory, 0));
#endif
}

size_t available_memory([[maybe_unused]] const Stream& stream) {
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    size_t free = 0, total = 0;
    trim(stream);
    check(cudaMemGetInfo(&free, &total));
    return free;
  }
#endif
  size_t available = SIZE_MAX / 2;  // where nothing says, allocating will
  std::ifstream file("/proc/meminfo");
  for (std::string key; file >> key;)
    if (size_t kilobytes = 0; key == "MemAvailable:" && file >> kilobytes) available = kilobytes * 1024;
  // A container's limit (control groups 2); "max" is none and is no number.
  std::ifstream limit("/sys/fs/cgroup/memory.max"), use("/sys/fs/cgroup/memory.current");
  if (size_t most = 0, used = 0; limit >> most && use >> used)
    available = std::min(available, most - std::min(most, used));
  return available;
}

void copy_to_host([[maybe_unused]] const Stream& stream, void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, current(stream)));
    check(cudaStreamSynchronize(current(stream)));
    return;
  }
#endif
  std::memcpy(host, device, bytes);
}

void copy_from_host([[maybe_unused]] const Stream& stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, current(stream)));
    check(cudaStreamSynchronize(current(stream)));  // the host buffer may die after this call
    return;
  }
#endif
  std::memcpy(device, host, bytes);
}

}  // namespace firn::kernels
