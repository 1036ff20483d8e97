// A stream of random tensors. Its whole state is two numbers, saved in snapshots.
#pragma once
#include "engine/tensor.h"

namespace firn {

struct Rng {
  uint64_t seed = 0;
  uint64_t offset = 0;  // draws made so far
  // Set while launches are recorded for replay (engine/replay.h): tensors count their draws from *origin, in device
  // memory, which at the recording is `start`.
  const uint64_t* origin = nullptr;
  uint64_t start = 0;

  double uniform();                         // [0,1)
  int64_t integer(int64_t lo, int64_t hi);  // lo..hi-1
};

Tensor randn(Shape shape, Rng& rng, DType type, const Device& device);  // N(0,1)
// In [lo,hi) but for what rounding to `type` makes of it. ShapeError unless lo <= hi.
Tensor uniform(Shape shape, double lo, double hi, Rng& rng, DType type, const Device& device);

}  // namespace firn
