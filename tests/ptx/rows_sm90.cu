#include "kernels/core/wgmma.h"
#include "tests/ptx/rows.h"

namespace firn::ptx {
namespace {

using kernels::TensorMap;

__global__ void box_copy(uint16_t* y, const __grid_constant__ TensorMap map, int4 first) {
  __shared__ __align__(1024) uint16_t box[128 * 64];
  __shared__ uint64_t arrived;
  const uint32_t barrier = mma::shared_address(&arrived);
  if (threadIdx.x == 0) {
    wgmma::init_barrier(barrier, 1);
    wgmma::fence_barriers();
    wgmma::arrive_expecting(barrier, sizeof box);
    wgmma::copy_box(mma::shared_address(box), &map, barrier, first.x, first.y, first.z, first.w);
  }
  __syncthreads();
  wgmma::await(barrier, 0);
  for (int i = threadIdx.x; i < 128 * 64; i += 64) y[i] = box[i];
}

template <int N>
__global__ void __launch_bounds__(128, 1) product(float* d, const __grid_constant__ TensorMap a,
                                                  const __grid_constant__ TensorMap b, int announced, Writes writes) {
  extern __shared__ __align__(1024) unsigned char memory[];
  const uint32_t left = mma::shared_address(memory), right = left + 64 * 128, barrier = right + N * 128;
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16;
  if (threadIdx.x == 0) {
    wgmma::init_barrier(barrier, 1);
    wgmma::fence_barriers();
    wgmma::arrive_expecting(barrier, announced);
    wgmma::copy_box(left, &a, barrier, 0, 0);
    wgmma::copy_box(right, &b, barrier, 0, 0);
  }
  __syncthreads();
  wgmma::await(barrier, 0);
  volatile unsigned char& mine = memory[64 * 128 + threadIdx.x];
  const unsigned char byte = mine;
  if (writes != Writes::never && writes != Writes::within) mine = byte;
  if (writes == Writes::before_barrier_fence) wgmma::fence_barriers();
  if (writes == Writes::before_fence) asm volatile("fence.proxy.async;" ::: "memory");
  __syncthreads();
  uint32_t u[4][4];
  for (int i = 0; i < 4; ++i)
    mma::load_matrices(u[i], left + (row + lane % 16) * 128 + ((i * 2 + lane / 16) ^ lane % 8) * 16);
  float sum[N / 2] = {};
  wgmma::pin(sum);
  wgmma::fence();
#pragma unroll
  for (int i = 0; i < 4; ++i) wgmma::multiply(sum, u[i], wgmma::describe_rows(right + i * 32));
  wgmma::commit();
  if (writes == Writes::within) mine = byte;
  wgmma::wait<0>();
  wgmma::pin(sum);
#pragma unroll
  for (int i = 0; i < N / 2; ++i) d[(row + lane / 4 + i / 2 % 2 * 8) * N + i / 4 * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

template <int N>
cudaError_t launch(float* d, const TensorMap& a, const TensorMap& b, int announced, Writes writes) {
  product<N><<<1, 128, (64 + N) * 128 + 8>>>(d, a, b, announced, writes);
  return ended();
}

}  // namespace

cudaError_t copied_box(uint16_t* y, const TensorMap& map, const int (&first)[4]) {
  box_copy<<<1, 64>>>(y, map, {first[0], first[1], first[2], first[3]});
  return ended();
}
cudaError_t product_of_warpgroup(float* d, const TensorMap& a, const TensorMap& b, int N, int announced,
                                 Writes writes) {
  return N == 64    ? launch<64>(d, a, b, announced, writes)
         : N == 128 ? launch<128>(d, a, b, announced, writes)
                    : launch<256>(d, a, b, announced, writes);
}

}  // namespace firn::ptx
