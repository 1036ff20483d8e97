// What a warp says to the tensor cores from sm_80 on: asynchronous copies, fragments, products of 16x8x16 in bf16. One
// form for all architectures, so not the fastest one on sm_90 (wgmma). tests/ptx/matrix.cpp draws the fragments.
#pragma once
#ifdef __CUDACC__
#include <cstdint>

namespace firn::mma {

// Addresses of shared memory are 32 bits wide in these instructions.
__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// 16 bytes, or zeros when there are none to take; `from` must point into an allocation all the same.
__device__ inline void copy_async(uint32_t to, const void* from, bool any) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(any ? 16 : 0) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// All but the `newer` latest groups of this thread have arrived; a barrier makes them everybody's.
template <int newer>
__device__ inline void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newer) : "memory");
}

// Operands in shared memory: rows of 32 bf16, in chunks of 16 bytes. Where chunk `q` of a row is: eight rows in
// succession have their chunks q in eight different groups of four banks.
constexpr int kRowBytes = 64;
__device__ inline uint32_t place(int row, int q) { return row * kRowBytes + ((q ^ (row / 2 % 4)) << 4); }

// Four matrices of 8x8: lane i gives the address of row i % 8 of matrix i / 8.
__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

// c += a b
__device__ inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two bf16 products. sm_80 has no mul.bf16x2; adding -0 changes nothing, not even the sign of a zero.
__device__ inline uint32_t multiply_pairs(uint32_t a, uint32_t b) {
  uint32_t r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(0x80008000u));
  return r;
}

// Two bf16 sums, as products with 1.
__device__ inline uint32_t add_pairs(uint32_t a, uint32_t b) {
  uint32_t r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return r;
}

// Two floats as bf16 in one register.
__device__ inline uint32_t round_pair(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

}  // namespace firn::mma
#endif
