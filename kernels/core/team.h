// A Team is the threads that share one block. On CUDA they are the block's threads; on the host it is one thread,
// rank 0 of 1, so a stride loop becomes a plain loop that the compiler vectorises, and a reduction the identity.
#pragma once
#include "kernels/core/run.h"

#ifdef __CUDACC__

#include "kernels/core/cuda_check.h"
#include "kernels/core/launch_limits.h"

namespace firn {

constexpr int kTeamThreads = 256;

struct CudaTeam {
  static constexpr int vector = 1;  // neighbouring elements that one thread handles together
  __device__ int64_t block() const { return blockIdx.x; }
  __device__ int rank() const { return threadIdx.x; }
  __device__ int size() const { return blockDim.x; }
  __device__ void sync() const { __syncthreads(); }
  // Every thread of the team calls them, and gets the same: of NaN and others, max is NaN.
  template <class T>
  __device__ T sum(T v) const {
    return reduce(v, T(0), [](T a, T b) { return a + b; });
  }
  template <class T>
  __device__ T max(T v) const {
    return reduce(v, v, [](T a, T b) { return b > a || b != b ? b : a; });
  }

  int* reductions;  // so far

 private:
  // Two places take turns: between two uses of one lies the barrier of the other.
  template <class T, class Op>
  __device__ T reduce(T v, T total, Op op) const {
    __shared__ T partial[2][32];
    T* const to = partial[(*reductions)++ % 2];
    for (int d = 16; d > 0; d /= 2) v = op(v, __shfl_xor_sync(0xffffffffu, v, d));
    if (rank() % 32 == 0) to[rank() / 32] = v;
    __syncthreads();
    for (int w = 0; w < size() / 32; ++w) total = op(total, to[w]);
    return total;
  }
};

template <class K>
__global__ void __launch_bounds__(kTeamThreads) team_kernel(K k) {
  int reductions = 0;
  k(CudaTeam{&reductions});
}

template <class K>
__global__ void __launch_bounds__(K::threads, K::blocks_at_once) tile_kernel(const __grid_constant__ K k) {
  extern __shared__ __align__(1024) unsigned char tile_memory[];  // 1024: the period of a 128-byte swizzle
  k(tile_memory);
}

template <class K>
void run_cuda(const Stream& s, const K& k) {
  static_assert(sizeof(K) <= kMostParameterBytes);
  const unsigned blocks = grid_of(K::name, k.blocks());
  if (blocks == 0) return;
  const cudaStream_t stream = current(s);
  if constexpr (CudaOnly<K>) {
    const int64_t bytes = k.shared_bytes();
    allow_shared_memory(s, reinterpret_cast<const void*>(tile_kernel<K>), K::name, bytes);
    tile_kernel<<<blocks, K::threads, static_cast<size_t>(bytes), stream>>>(k);
  } else {
    team_kernel<<<blocks, kTeamThreads, 0, stream>>>(k);
  }
  check(cudaGetLastError());
}

}  // namespace firn

#define FIRN_KERNEL(...) template void firn::run_cuda<__VA_ARGS__>(const firn::Stream&, const __VA_ARGS__&)
#define FIRN_CPU_KERNEL(...) static_assert(firn::CpuOnly<__VA_ARGS__>)

#else

namespace firn {

struct CpuTeam {
  static constexpr int vector = 64;
  int64_t index;
  int64_t block() const { return index; }
  static constexpr int rank() { return 0; }
  static constexpr int size() { return 1; }
  static void sync() {}
  template <class T>
  T sum(T v) const {
    return v;
  }
  template <class T>
  T max(T v) const {
    return v;
  }
};

template <class K>
void run_cpu(const K& k) {
  const int64_t blocks = k.blocks();
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t b = 0; b < blocks; ++b) k(CpuTeam{b});
}

}  // namespace firn

#define FIRN_KERNEL(...) template void firn::run_cpu<__VA_ARGS__>(const __VA_ARGS__&)
#define FIRN_CPU_KERNEL FIRN_KERNEL

#endif

namespace firn {

// Calls body(first, width) over [0, n): whole vectors with a constant width, so that the body's loop of that width
// unrolls into registers, then single elements.
template <class Team, class Body>
FIRN_DEVICE void for_vectors(Team t, int64_t n, Body body) {
  constexpr int V = Team::vector;
  for (int64_t i = int64_t(t.rank()) * V; i < n; i += int64_t(t.size()) * V) {
    if (i + V <= n) {
      body(i, std::integral_constant<int, V>{});
    } else {
      constexpr int half = V > 16 ? 16 : 1;
      int64_t j = i;
      for (; j + half <= n; j += half) body(j, std::integral_constant<int, half>{});
      for (; j < n; ++j) body(j, std::integral_constant<int, 1>{});
    }
  }
}

}  // namespace firn
