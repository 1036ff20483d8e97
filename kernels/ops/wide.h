// bf16 is storage where a processor has no faster products of it than those of f32: copies to compute with.
#pragma once
#include "kernels/device/memory.h"
#include "kernels/ops/elementwise.h"

namespace firn::kernels {

// An array of bf16 as f32.
class Wide {
 public:
  Wide(const Stream& stream, int64_t count)
      : stream_(stream), count_(count), scratch_(stream, sizeof(float) * static_cast<size_t>(count)) {}
  Wide(const Stream& stream, int64_t count, const void* from) : Wide(stream, count) {
    run(stream, Cast<float, bf16>{data(), static_cast<const bf16*>(from), count});
  }
  float* data() const { return static_cast<float*>(scratch_.data()); }
  void round_to(void* to) const { run(stream_, Cast<bf16, float>{static_cast<bf16*>(to), data(), count_}); }

 private:
  Stream stream_;
  int64_t count_;
  Scratch scratch_;
};

}  // namespace firn::kernels
