// What the oneDNN providers share: one engine, one stream, scratch memory. oneDNN 2.x.
#pragma once
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/memory.h"
#include "kernels/types.h"

static_assert(DNNL_VERSION_MAJOR == 2, "the oneDNN providers are written for oneDNN 2.x");

namespace firn::kernels::onednn {

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
  explicit Buffer(const dnnl::memory::desc& md)
      : bytes_(md.get_size()), data_(bytes_ ? allocate({}, bytes_) : nullptr) {}
  ~Buffer() {
    if (data_) release({}, data_, bytes_);
  }
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

}  // namespace firn::kernels::onednn
