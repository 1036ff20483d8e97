// What sm_90a adds for a warpgroup (four warps): barriers that count threads and bytes, tiles that the copy engine
// brings by a tensor map, products of 64xNx16 whose right side lies in shared memory. tests/ptx/warpgroup.cpp and
// bulk.cpp draw the layouts. The architecture's own forms: nothing here assembles for another.
#pragma once
#ifdef __CUDACC__
#include <cstdio>

#include "kernels/core/mma.h"

namespace firn::wgmma {

// A barrier is 8 bytes of shared memory. Its phase ends when `count` arrivals have come and all announced bytes; then
// it starts anew.
__device__ inline void init_barrier(uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// Makes new barriers known to the copy engine.
__device__ inline void fence_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ inline void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and announces bytes that copies will bring in this phase.
__device__ inline void arrive_expecting(uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// What a wait that does not end says of itself: a kernel, a ring of barriers and the place in it.
struct Waiting {
  const char *kernel = "a kernel", *ring = "barrier";
  int place = 0;
};
#ifdef FIRN_BOUNDED_WAITS
constexpr bool kBoundedWaits = true;
#else
constexpr bool kBoundedWaits = false;
#endif
constexpr long long kMostCycles = 20'000'000'000;  // some ten seconds, in which any launch is over

// Waits for the end of a phase, which is named by its parity: phases 0, 2, 4... are even. The one before the first
// counts as odd and over. With bounded waits, one too long is reported and ends the launch with an error; the call that
// reports it keeps ptxas from overlapping products.
__device__ inline void await(uint32_t barrier, uint32_t parity, Waiting what = {}) {
  uint32_t over;
  const long long begin = kBoundedWaits ? clock64() : 0;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(over)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    if constexpr (kBoundedWaits)
      if (!over && threadIdx.x % 32 == 0 && clock64() - begin > kMostCycles) {  // a warp says it once
        printf("%s: thread %d of block %d waits in vain for \"%s %d\", parity %d\n", what.kernel, int(threadIdx.x),
               int(blockIdx.x), what.ring, what.place, int(parity));
        __trap();
      }
  } while (!over);
}

// A box whose first element has these coordinates, innermost dimension first; what lies outside the tensor is zero.
__device__ inline void copy_box(uint32_t to, const void* map, uint32_t barrier, int c0, int c1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
          "r"(to),
      "l"(map), "r"(c0), "r"(c1), "r"(barrier)
      : "memory");
}
__device__ inline void copy_box(uint32_t to, const void* map, uint32_t barrier, int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
      "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(barrier)
      : "memory");
}

// Warpgroups of a block hand registers to each other; `count` is what each thread of this one then has.
template <int count>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
// A barrier of some threads of the block. Barrier 0 is __syncthreads.
template <int id, int threads>
__device__ inline void sync_some() {
  asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory");
}

// Registers that products use may have been written before, and are.
__device__ inline void fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// All but the `newer` latest groups are done: their sums are there, and what they read may change.
template <int newer>
__device__ inline void wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(newer) : "memory");
}

// What the compiler does with these registers stays on its side of here, and so of the next fence or the last wait.
template <int count>
__device__ inline void pin(float (&c)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(c[i])::"memory");
}
template <int count>
__device__ inline void pin(uint32_t (&a)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

// The right side: rows of 128 bytes, an output's 64 channels each, swizzled, in groups of eight that start at multiples
// of 1024 bytes. The next 16 channels begin 32 bytes on.
__device__ inline uint64_t describe_rows(uint32_t address) {
  constexpr uint64_t group_bytes = 1024, swizzle_128 = 1;
  return (address & 0x3ffff) >> 4 | uint64_t{1} << 16 | group_bytes >> 4 << 32 | swizzle_128 << 62;
}

// c += a b of 64xNx16, N = 2 count. A warp has 16 rows of c; it holds them and a as in mma.h.
#define FIRN_8(i)                                                                                             \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]), "+f"(c[i + 6]), \
      "+f"(c[i + 7])
#define FIRN_32(i) FIRN_8(i), FIRN_8(i + 8), FIRN_8(i + 16), FIRN_8(i + 24)
#define FIRN_A_AND_B "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
__device__ inline void multiply(float (&c)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "{%32,%33,%34,%35}, %36, p, 1, 1, 0;\n}"
      : FIRN_32(0)
      : FIRN_A_AND_B);
}
__device__ inline void multiply(float (&c)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "{%64,%65,%66,%67}, %68, p, 1, 1, 0;\n}"
      : FIRN_32(0), FIRN_32(32)
      : FIRN_A_AND_B);
}
__device__ inline void multiply(float (&c)[128], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
      "{%128,%129,%130,%131}, %132, p, 1, 1, 0;\n}"
      : FIRN_32(0), FIRN_32(32), FIRN_32(64), FIRN_32(96)
      : FIRN_A_AND_B);
}
#undef FIRN_A_AND_B
#undef FIRN_32
#undef FIRN_8

}  // namespace firn::wgmma
#endif
