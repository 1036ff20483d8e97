// How the threads of a block share out rows of channels. On a GPU a thread takes 8 channels, 16 bytes in bf16, and
// threads that the channels leave over take further rows; on the host it is a plain loop over vectors of channels.
#pragma once
#include "kernels/core/team.h"

namespace firn {

constexpr int kVector = 8;

#ifdef __CUDACC__

template <class T, int width>
struct alignas(width * sizeof(T) < 16 ? width * sizeof(T) : 16) Vector {
  T v[width];
  __device__ const T& operator[](int i) const { return v[i]; }
};

template <int width, class T>
__device__ Vector<T, width> read(const T* p) {
  return *reinterpret_cast<const Vector<T, width>*>(p);
}

// p[v] = f(v) for v < width, stored at once.
template <int width, class T, class F>
__device__ void write(T* p, F f) {
  Vector<T, width> y;
  for (int v = 0; v < width; ++v) y.v[v] = f(v);
  *reinterpret_cast<Vector<T, width>*>(p) = y;
}

// Whether whole vectors may be read and written: `count` of them begin at each pointer, null or not. f64 is for checks
// and takes one element at a time.
template <class... T>
__device__ bool has_vectors(int64_t count, const T*... p) {
  return ((sizeof(T) < 8) && ...) && count % kVector == 0 && ((reinterpret_cast<uintptr_t>(p) | ...) % 16) == 0;
}

// body(i, width) over [first, last).
template <class Body>
__device__ void for_span(const CudaTeam& t, int64_t first, int64_t last, bool vectors, Body body) {
  const int n = int(last - first), whole = vectors ? n / kVector * kVector : 0;
  for (int i = t.rank() * kVector; i < whole; i += t.size() * kVector)
    body(first + i, std::integral_constant<int, kVector>{});
  for (int i = whole + t.rank(); i < n; i += t.size()) body(first + i, std::integral_constant<int, 1>{});
}

// Numbers that a block reads twice: the second time each thread has its own in registers, `width` neighbours at once.
template <class T, int width, int most>
class Kept {
 public:
  __device__ Kept(const CudaTeam& t, const T* from, int count) : rank_(t.rank()), count_(count) {
    each([&](int i, auto& v) { v = read<width>(from + i); });
  }
  // body(i, v) for each `width` numbers v of this thread, that begin at the i-th.
  template <class Body>
  __device__ void each(Body body) {
#pragma unroll
    for (int k = 0; k < most / (kTeamThreads * width); ++k)
      if (const int i = (k * kTeamThreads + rank_) * width; i < count_) body(i, v_[k]);
  }

 private:
  int rank_, count_;
  Vector<T, width> v_[most / (kTeamThreads * width)];
};

template <class Team>
class Columns {
 public:
  __device__ Columns(Team t, int64_t C, bool vectors) : t_(t), C_(int(C)), vectors_(vectors) {
    const int columns = C_ / (vectors ? kVector : 1);
    groups_ = columns < t.size() ? t.size() / columns : 1;
    group_ = groups_ > 1 ? t.rank() / columns : 0;
    first_ = groups_ > 1 ? t.rank() - group_ * columns : t.rank();
  }
  // body(c, width) for the channels of this thread.
  template <class Body>
  __device__ void each(Body body) const {
    if (group_ >= groups_) return;
    if (vectors_) {
      for (int c = first_ * kVector; c < C_; c += t_.size() * kVector) body(c, std::integral_constant<int, kVector>{});
    } else {
      for (int c = first_; c < C_; c += t_.size()) body(c, std::integral_constant<int, 1>{});
    }
  }

  // body(i) for the rows of this thread, of those in [first, last). Counted in 32 bits: a GPU divides 64 by a
  // subroutine, around which registers are saved.
  template <class Body>
  __device__ void rows(int64_t first, int64_t last, Body body) const {
    const int count = int(last - first);
    for (int i = group_; i < count; i += groups_) body(first + i);
  }

  // out[c stride] = sum over the groups. put() within each(), then finish() by all threads; `slot` tells sums of one
  // kernel apart.
  template <int slots = 1, class A, int width>
  __device__ void put(int slot, int c, const A (&sum)[width], A* out, int stride = 1) const {
    A* const to = memory<slots, A>() + slot * places<A> + group_ * C_;
    for (int v = 0; v < width; ++v) (groups_ > 1 ? to[c + v] : out[(c + v) * stride]) = sum[v];
  }
  template <int slots = 1, class A>
  __device__ void finish(int slot, A* out, int stride = 1) const {
    if (groups_ > 1) __syncthreads();
    finish_next<slots>(slot, out, stride);
  }
  // For a slot that was put before the last finish().
  template <int slots, class A>
  __device__ void finish_next(int slot, A* out, int stride = 1) const {
    if (groups_ == 1) return;
    const A* const from = memory<slots, A>() + slot * places<A>;
    for (int c = t_.rank(); c < C_; c += t_.size()) {
      A sum = 0;
      for (int g = 0; g < groups_; ++g) sum += from[g * C_ + c];
      out[c * stride] = sum;
    }
  }

 private:
  template <class A>
  static constexpr int places = kTeamThreads*(sizeof(A) < 8 ? kVector : 1);
  template <int slots, class A>
  __device__ static A* memory() {
    __shared__ A sums[slots * places<A>];
    return sums;
  }

  Team t_;
  int C_, groups_, group_, first_;
  bool vectors_;
};

#else

template <int width, class T>
const T* read(const T* p) {
  return p;
}

template <int width, class T, class F>
void write(T* p, F f) {
  for (int v = 0; v < width; ++v) p[v] = f(v);
}

template <class... T>
bool has_vectors(int64_t, const T*...) {
  return true;
}

template <class Team, class Body>
void for_span(const Team&, int64_t first, int64_t last, bool, Body body) {
  for (int64_t i = first; i < last; ++i) body(i, std::integral_constant<int, 1>{});
}

template <class T, int width, int most>
class Kept {
 public:
  template <class Team>
  Kept(const Team&, const T* from, int count) : from_(from), count_(count) {}
  template <class Body>
  void each(Body body) {
    for (int i = 0; i < count_; i += width) body(i, from_ + i);
  }

 private:
  const T* from_;
  int count_;
};

template <class Team>
class Columns {
 public:
  Columns(Team, int64_t C, bool) : C_(C) {}
  template <class Body>
  void each(Body body) const {
    each_of<128>(0, body);
  }
  template <class Body>
  void rows(int64_t first, int64_t last, Body body) const {
    for (int64_t i = first; i < last; ++i) body(i);
  }
  template <int slots = 1, class A, int width>
  void put(int, int64_t c, const A (&sum)[width], A* out, int stride = 1) const {
    for (int v = 0; v < width; ++v) out[(c + v) * stride] = sum[v];
  }
  template <int slots = 1, class A>
  void finish(int, A*, int = 1) const {}
  template <int slots, class A>
  void finish_next(int, A*, int = 1) const {}

 private:
  // Up to 128 channels at once: long stretches of each row, and sums that stay in the first cache.
  template <int width, class Body>
  void each_of(int64_t c, Body& body) const {
    for (; c + width <= C_; c += width) call<width>(c, body);
    if constexpr (width > 1) each_of<(width > 16 ? width / 2 : 1)>(c, body);
  }

  // With all that it calls, so that its arrays are known to be its own: otherwise it does not vectorise.
  template <int width, class Body>
  [[gnu::flatten]] static void call(int64_t c, Body& body) {
    body(c, std::integral_constant<int, width>{});
  }

  int64_t C_;
};

#endif

// body(i, c, width, of(c, width)) for the channels c of the pixels i in [first, last). A processor goes through whole
// pixels: columns would take a part of each of its lines of memory at a time. A GPU asks of() once for all rows.
template <class Team, class OfChannels, class Body>
FIRN_DEVICE void each_pixel(Team t, int64_t first, int64_t last, int64_t C, bool vectors, OfChannels of, Body body) {
  if constexpr (Team::vector > 1) {
    constexpr std::integral_constant<int, 1> one;
    for (int64_t i = first; i < last; ++i)
      for (int64_t c = 0; c < C; ++c) body(i, c, one, of(c, one));
  } else {
    const Columns columns(t, C, vectors);
    columns.each([&](auto c, auto width) {
      const auto k = of(c, width);
      columns.rows(first, last, [&](int64_t i) { body(i, c, width, k); });
    });
  }
}

// The same for a body that asks nothing of its channels.
template <class Team, class Body>
FIRN_DEVICE void each_pixel(Team t, int64_t first, int64_t last, int64_t C, bool vectors, Body body) {
  each_pixel(
      t, first, last, C, vectors, [](int64_t, auto) { return 0; },
      [&](int64_t i, int64_t c, auto width, int) { body(i, c, width); });
}

}  // namespace firn
