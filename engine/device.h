// Where tensors live and ops run.
#pragma once
#include <string>
#include <string_view>

#include "kernels/core/run.h"

namespace firn {

// How libraries may compute on a GPU (kernels/provider_numerics.h). Where activations are bf16, what stays f32 needs no
// more than TF32 either.
struct Precision {
  DType activations = DType::f32;
  bool tf32 = false, deterministic = false;
};

class Device {
 public:
  static Device cpu() { return Device({}, "cpu"); }
  static Device cuda(int index = 0);               // DeviceError when there is no such GPU
  static Device best();                            // a GPU if there is one; says so if it cannot be used
  static Device from_name(std::string_view name);  // "cpu", "cuda", "cuda:1", "auto"; ConfigError otherwise
  static Device dry();                             // a GPU on which nothing runs (kernels/conv/planning.h)

  Device with(const Precision&) const;  // the same device, whose libraries compute so

  const Stream& stream() const { return stream_; }
  bool is_cuda() const { return stream_.is_cuda; }
  const std::string& name() const { return name_; }
  friend bool operator==(const Device& a, const Device& b) {
    return a.stream_.cuda == b.stream_.cuda && a.is_cuda() == b.is_cuda();
  }

 private:
  Device(Stream stream, std::string name) : stream_(stream), name_(std::move(name)) {}
  Stream stream_;
  std::string name_;
};

}  // namespace firn
