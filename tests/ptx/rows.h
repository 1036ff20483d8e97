// Kernels of one block that show what single instructions do; each waits for its end, and gives its error.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/core/tensor_map.h"

namespace firn::ptx {

inline cudaError_t ended() {
  cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess) status = cudaStreamSynchronize(nullptr);
  cudaGetLastError();
  return status;
}

// Kernels that do nothing: one with launch bounds and 1024 bytes of static shared memory, one without.
const void* kernel_of_64_threads();
const void* kernel_of_any_threads();

// c = a b by copies, ldmatrix and one mma; a, b bf16, c [16,8]. One launch for each way to fetch a [16,16] and b: rows
// of four matrices and b^T [8,16], or matrices one by one and b [16,8] transposed by the load.
cudaError_t product_of_rows(float* c, const uint16_t* a, const uint16_t* b_transposed);
cudaError_t product_of_columns(float* c, const uint16_t* a, const uint16_t* b);

// y[i] = a[i] b[i] + c[i], and y[count + i] = a[i] b[i], of two bf16 a word.
cudaError_t pairs(uint32_t* y, const uint32_t* a, const uint32_t* b, const uint32_t* c, int count);

// Copies of 4, 8 and 16 bytes, each with some of them taken: y has 28 bytes.
cudaError_t short_copies(uint8_t* y, const uint8_t* x, int taken4, int taken8, int taken16);

// y[i] = x[i + 32 mod 64]: threads read what the other warp copied. One thing may be left out: the wait, the barrier,
// that the source stays as it is, the wait for a later copy.
enum class Without { nothing, wait, barrier, source, later_wait };
cudaError_t copies(uint32_t* y, uint32_t* x, Without);

// Votes and shuffles of a warp: y[0..4] two ballots, all, any, active lanes; y[32..] sums of a segment of 8; y[64..]
// what the lane three below in a segment of 16 has.
cudaError_t votes(uint32_t* y);

// A box of 128 rows of 64 elements of a 4-D tensor, as it lies in shared memory.
cudaError_t copied_box(uint16_t* y, const kernels::TensorMap&, const int (&first)[4]);

// d [64,N] = a [64,64] b^T, b [N,64], both by tensor map; N 64, 128 or 256. `announced` are the bytes that the barrier
// is told of. Threads may write to b: before the products, with a fence, one for barriers or none, or before they are
// done.
enum class Writes { never, before, before_fence, before_barrier_fence, within };
cudaError_t product_of_warpgroup(float* d, const kernels::TensorMap& a, const kernels::TensorMap& b, int N,
                                 int announced, Writes);

}  // namespace firn::ptx
