#include "kernels/choice/agreement.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/device/memory.h"

namespace firn::kernels {

bool agree(const Stream& stream, const bf16* y, const bf16* expected, int64_t count) {
  const auto chunks = static_cast<size_t>(SquaredDistance{.count = count}.blocks());
  const Scratch sums(stream, chunks * sizeof(float));
  const auto distances = [&](const bf16* from) {
    std::vector<float> all(chunks);
    run(stream, SquaredDistance{static_cast<float*>(sums.data()), from, expected, count});
    copy_to_host(stream, all.data(), sums.data(), chunks * sizeof(float));
    return all;
  };
  const std::vector<float> sizes = distances(nullptr), differences = distances(y);
  // Without the mean a chunk of numbers that cancel would have to be exact.
  const double mean = std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(chunks);
  if (!(mean < INFINITY)) return false;
  for (size_t i = 0; i < chunks; ++i)
    if (!(differences[i] <= (sizes[i] + mean) / SquaredDistance::chunk)) return false;  // nor is a NaN
  return true;
}

}  // namespace firn::kernels
