#include "tests/ptx/rows.h"

#include "kernels/core/mma.h"

namespace firn::ptx {
namespace {

// How the fragments of c leave: see matrix.cpp.
__device__ void store(float* c, const float (&fragment)[4]) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  for (int r = 0; r < 4; ++r) c[(g + r / 2 * 8) * 8 + 2 * t + r % 2] = fragment[r];
}

__global__ void row_product(float* c, const uint16_t* a, const uint16_t* b_transposed) {
  __shared__ __align__(16) uint16_t left[16][16], right[8][16];
  const int lane = threadIdx.x;
  mma::copy_async(mma::shared_address(&left[lane / 2][lane % 2 * 8]), a + lane * 8, true);
  if (lane < 16) mma::copy_async(mma::shared_address(&right[lane / 2][lane % 2 * 8]), b_transposed + lane * 8, true);
  mma::commit_copies();
  mma::await_copies<0>();
  __syncwarp();
  uint32_t x[4], y0, y1;
  mma::load_matrices(x, mma::shared_address(&left[lane % 16][lane / 16 * 8]));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(y0), "=r"(y1)
               : "r"(mma::shared_address(&right[lane % 8][lane / 8 % 2 * 8])));
  float sum[4] = {};
  mma::multiply(sum, x, y0, y1);
  store(c, sum);
}

__global__ void column_product(float* c, const uint16_t* a, const uint16_t* b) {
  __shared__ __align__(16) uint16_t left[16][16], right[16][8];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) left[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) right[i / 8][i % 8] = b[i];
  __syncwarp();
  uint32_t x[4], y0, y1;
  for (int m = 0; m < 4; ++m)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(x[m])
                 : "r"(mma::shared_address(&left[lane % 8 + m % 2 * 8][m / 2 * 8])));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 {%0,%1}, [%2];"
               : "=r"(y0), "=r"(y1)
               : "r"(mma::shared_address(&right[lane % 16][0])));
  float sum[4] = {};
  mma::multiply(sum, x, y0, y1);
  store(c, sum);
}

__global__ void pair_arithmetic(uint32_t* y, const uint32_t* a, const uint32_t* b, const uint32_t* c, int count) {
  for (int i = threadIdx.x; i < count; i += 32) {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(y[i]) : "r"(a[i]), "r"(b[i]), "r"(c[i]));
    y[count + i] = mma::multiply_pairs(a[i], b[i]);
  }
}

__global__ void short_copy(uint8_t* y, const uint8_t* x, int taken4, int taken8, int taken16) {
  __shared__ __align__(16) uint8_t bytes[32];
  const uint32_t to = mma::shared_address(bytes);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(x), "r"(taken4));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to + 8), "l"(x + 8), "r"(taken8));
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to + 16), "l"(x + 16), "r"(taken16));
  asm volatile("cp.async.wait_all;" ::: "memory");
  for (int i = 0; i < 28; ++i) y[i] = bytes[i < 4 ? i : i + 4];
}

__global__ void neighbour_copies(uint32_t* y, uint32_t* x, Without without) {
  __shared__ uint32_t words[64], later;
  const int i = threadIdx.x;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(mma::shared_address(words + i)), "l"(x + i) : "memory");
  mma::commit_copies();
  if (i == 0)
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(mma::shared_address(&later)), "l"(x) : "memory");
  mma::commit_copies();
  if (without == Without::source) x[i] = 7;
  if (without != Without::wait) mma::await_copies<1>();  // `later` may still be on its way
  if (without != Without::barrier) __syncthreads();
  y[i] = words[i ^ 32];
  if (without == Without::later_wait && i == 0) y[0] = later;
  mma::await_copies<0>();
}

__global__ void voting(uint32_t* y) {
  const uint32_t lane = threadIdx.x;
  const uint32_t odd = __ballot_sync(0xffffffffu, lane % 2), most = __ballot_sync(0xffffffffu, lane < 31);
  const bool all = __all_sync(0xffffffffu, lane < 32), each = __all_sync(0xffffffffu, lane < 31),
             any = __any_sync(0xffffffffu, lane == 31), none = __any_sync(0xffffffffu, lane > 31);
  uint32_t sum = lane;
  for (int d = 4; d > 0; d /= 2) sum += __shfl_down_sync(0xffffffffu, sum, d, 8);
  y[32 + lane] = __shfl_sync(0xffffffffu, sum, 0, 8);
  y[64 + lane] = __shfl_up_sync(0xffffffffu, lane, 3, 16);
  if (lane < 5) y[4 + lane] = __activemask();
  if (lane > 0) return;
  y[0] = odd, y[1] = most, y[2] = all + 2 * each, y[3] = any + 2 * none;
}

__global__ void __launch_bounds__(64) in_bounds() {
  __shared__ volatile int static_bytes[256];
  static_bytes[threadIdx.x] = 0;
}
__global__ void without_bounds() {}

}  // namespace

const void* kernel_of_64_threads() { return reinterpret_cast<const void*>(in_bounds); }
const void* kernel_of_any_threads() { return reinterpret_cast<const void*>(without_bounds); }

cudaError_t product_of_rows(float* c, const uint16_t* a, const uint16_t* b_transposed) {
  row_product<<<1, 32>>>(c, a, b_transposed);
  return ended();
}
cudaError_t product_of_columns(float* c, const uint16_t* a, const uint16_t* b) {
  column_product<<<1, 32>>>(c, a, b);
  return ended();
}
cudaError_t pairs(uint32_t* y, const uint32_t* a, const uint32_t* b, const uint32_t* c, int count) {
  pair_arithmetic<<<1, 32>>>(y, a, b, c, count);
  return ended();
}
cudaError_t short_copies(uint8_t* y, const uint8_t* x, int taken4, int taken8, int taken16) {
  short_copy<<<1, 1>>>(y, x, taken4, taken8, taken16);
  return ended();
}
cudaError_t copies(uint32_t* y, uint32_t* x, Without without) {
  neighbour_copies<<<1, 64>>>(y, x, without);
  return ended();
}
cudaError_t votes(uint32_t* y) {
  voting<<<1, 32>>>(y);
  return ended();
}

}  // namespace firn::ptx
