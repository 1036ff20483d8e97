// What the oneDNN providers share: one engine, one stream, scratch memory; and all that differs between oneDNN 2 and 3.
#pragma once
#include <sys/mman.h>

#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/core/types.h"
#include "kernels/device/memory.h"

static_assert(DNNL_VERSION_MAJOR == 2 || DNNL_VERSION_MAJOR == 3, "the providers are written for oneDNN 2 and 3");

namespace firn::kernels::onednn {

// oneDNN writes generated code without asking whether there is memory for it, and crashes where there is none. To be
// called before it may generate some; std::bad_alloc.
inline void require_room() {
  constexpr size_t most = 16 << 20;
  void* room = ::mmap(nullptr, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  ::munmap(room, most);
}

// The same for calls that generate code the first time only: asking each time costs a step some percent.
inline void require_room_once() { [[maybe_unused]] static const bool asked = (require_room(), true); }

inline dnnl::engine& engine() {
  static dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

inline dnnl::stream& stream() {
  static dnnl::stream s(engine());
  return s;
}

inline dnnl::memory::data_type data_type(DType t) {
  return t == DType::bf16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

// Host memory for one call, from the pool that tensors use.
class Buffer {
 public:
  explicit Buffer(const dnnl::memory::desc& md) : bytes_(md.get_size()), data_(allocate({}, bytes_)) {}
  ~Buffer() { release({}, data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  size_t bytes_;
  void* data_;
};

inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

// max(x, 0) of what a primitive computes, and at most `clamp` unless that is negative.
inline dnnl::post_ops clipped(double clamp) {
  const auto kind = clamp < 0 ? dnnl::algorithm::eltwise_relu : dnnl::algorithm::eltwise_clip;
  const auto most = static_cast<float>(clamp < 0 ? 0 : clamp);
  dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR == 2
  ops.append_eltwise(1, kind, 0, most);
#else
  ops.append_eltwise(kind, 0, most);
#endif
  return ops;
}

using Arguments = std::unordered_map<int, dnnl::memory>;

// Multiplies what a primitive computes. oneDNN 2 is told when the primitive is made, 3 with each call: tell it both
// times.
class Scale {
 public:
  explicit Scale(double by) : by_(static_cast<float>(by)) {}
#if DNNL_VERSION_MAJOR == 2
  void set(dnnl::primitive_attr& attr) const {
    if (by_ != 1) attr.set_output_scales(0, {by_});
  }
  void pass(Arguments&) const {}
#else
  void set(dnnl::primitive_attr& attr) const {
    if (by_ != 1) attr.set_scales_mask(DNNL_ARG_SRC, 0);
  }
  // The arguments are valid as long as this is.
  void pass(Arguments& arguments) const {
    using dnnl::memory;
    if (by_ == 1) return;
    const memory::desc one({1}, memory::data_type::f32, memory::format_tag::x);
    arguments.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, memory(one, engine(), const_cast<float*>(&by_)));
  }
#endif

 private:
  float by_;
};

// How a primitive would run: `what` is its kind of pass, algorithm, memory and geometry in the order that both versions
// know. A backward one needs the forward one that it belongs to.
template <class Primitive, class... What>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attr, const What&... what) {
  require_room();
#if DNNL_VERSION_MAJOR == 2
  return {typename Primitive::desc(what...), attr, engine()};
#else
  return {engine(), what..., attr};
#endif
}

template <class Primitive, class Forward, class... What>
typename Primitive::primitive_desc describe_backward(const dnnl::primitive_attr& attr, const Forward& forward,
                                                     const What&... what) {
  require_room();
#if DNNL_VERSION_MAJOR == 2
  return {typename Primitive::desc(what...), attr, engine(), forward};
#else
  return {engine(), what..., forward, attr};
#endif
}

// Equal for equal layouts only.
inline std::string bytes_of(const dnnl::memory::desc& md) {
#if DNNL_VERSION_MAJOR == 2
  return {reinterpret_cast<const char*>(&md.data), sizeof md.data};
#else
  const std::vector<uint8_t> blob = dnnl::memory::desc(md).get_blob();
  return {blob.begin(), blob.end()};
#endif
}

}  // namespace firn::kernels::onednn
