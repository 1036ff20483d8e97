// Planned memory: places that never overlap while they are in use, and what happens to a sequence that does not repeat.
#include <gtest/gtest.h>

#include <random>

#include "engine/device.h"
#include "kernels/device/arena.h"
#include "kernels/device/memory.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

using kernels::ArenaPlan;
using kernels::Lifetime;

const Stream& stream() {
  static const Device cpu = Device::cpu();
  return cpu.stream();
}

TEST(Arena, NoTwoThatLiveTogetherOverlapAndLittleIsWasted) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::vector<Lifetime> lifetimes;
    for (int64_t i = 0; i < 200; ++i)
      lifetimes.push_back({1 + random() % 10000, i + 1 + static_cast<int64_t>(random() % 12)});
    const ArenaPlan plan = kernels::plan_arena(lifetimes);
    size_t most = 0;
    for (size_t i = 0; i < 200; ++i) {
      EXPECT_EQ(plan.offsets[i] % 256, 0u);
      EXPECT_LE(plan.offsets[i] + lifetimes[i].bytes, plan.size);
      size_t live = 0;
      for (size_t j = 0; j <= i; ++j) {
        if (lifetimes[j].end <= static_cast<int64_t>(i)) continue;
        live += (lifetimes[j].bytes + 255) / 256 * 256;
        if (j == i) continue;
        const bool apart = plan.offsets[j] + lifetimes[j].bytes <= plan.offsets[i] ||
                           plan.offsets[i] + lifetimes[i].bytes <= plan.offsets[j];
        ASSERT_TRUE(apart) << i << " and " << j;
      }
      most = std::max(most, live);
    }
    EXPECT_LE(plan.size, most + most / 4);
  }
}

TEST(Arena, PlacesAreReusedOnceReleased) {
  const ArenaPlan plan = kernels::plan_arena(std::vector<Lifetime>{{1000, 1}, {1000, 2}, {1000, 3}});
  EXPECT_EQ(plan.offsets, (std::vector<size_t>{0, 0, 0}));
  EXPECT_EQ(plan.size, 1024u);
}

// a lives until c is there, b to the end.
void sequence(size_t third = 300) {
  void* a = kernels::allocate(stream(), 100);
  void* b = kernels::allocate(stream(), 200);
  void* c = kernels::allocate(stream(), third);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
  kernels::release(stream(), a, 100);
  kernels::release(stream(), c, third);
  kernels::release(stream(), b, 200);
}

ArenaPlan recorded() {
  const kernels::ArenaRecording recording(stream());
  sequence();
  return recording.plan();
}

TEST(Arena, ARecordedSequencePlaysBackInItsBlock) {
  const ArenaPlan plan = recorded();
  EXPECT_EQ(plan.bytes, (std::vector<size_t>{100, 200, 300}));
  const kernels::ArenaBlock block(stream(), plan.size);
  const kernels::ArenaPlayback playback(plan, block);
  const size_t live = kernels::memory_use().live;
  sequence();
  EXPECT_EQ(kernels::memory_use().live, live);
  playback.require_all_released();
}

TEST(Arena, AnotherSequenceIsAnError) {
  const ArenaPlan plan = recorded();
  const kernels::ArenaBlock block(stream(), plan.size);
  {
    const kernels::ArenaPlayback playback(plan, block);
    EXPECT_MENTIONS(message_of<DeviceError>([] { sequence(301); }), "asked for 301 bytes where 300 were planned");
  }
  const kernels::ArenaPlayback playback(plan, block);
  void* kept = kernels::allocate(stream(), 100);
  EXPECT_MENTIONS(message_of<DeviceError>([&] { playback.require_all_released(); }), "left 1 allocations behind");
  kernels::release(stream(), kept, 100);
}

TEST(Arena, WhatOutlivesTheRecordingIsAnError) {
  const kernels::ArenaRecording recording(stream());
  void* kept = kernels::allocate(stream(), 100);
  EXPECT_MENTIONS(message_of<DeviceError>([&] { recording.plan(); }), "left 1 allocations behind");
  kernels::release(stream(), kept, 100);
  EXPECT_EQ(recording.plan().bytes.size(), 1u);
}

}  // namespace
}  // namespace firn
