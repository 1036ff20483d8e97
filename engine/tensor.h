// A dense row-major array on a device, and its place on the tape. Copies share storage; ops never write their inputs.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/conv/weight_cache.h"
#include "kernels/core/types.h"

namespace firn {

using Shape = std::vector<int64_t>;
int64_t count(const Shape&);
std::string to_string(const Shape&);  // "[8,32,32,3]"

struct Node;      // engine/tape.h
struct Deferred;  // likewise

// Memory that tensors share.
struct Storage {
  Storage(const Device& device, size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device;
  size_t bytes;
  void* data;
  std::shared_ptr<kernels::WeightCache> weight_cache;  // once somebody has asked for it
};

class Tensor {
 public:
  Tensor() = default;  // no tensor; `defined()` is false

  static Tensor empty(Shape shape, DType type, const Device& device);
  static Tensor zeros(Shape shape, DType type, const Device& device);
  static Tensor full(Shape shape, double value, DType type, const Device& device);
  // Host values, converted to `type`. ShapeError unless values.size() == count(shape).
  static Tensor from(std::span<const float> values, Shape shape, DType type, const Device& device);
  static Tensor from(std::span<const double> values, Shape shape, DType type, const Device& device);
  // Integers: i32 or i64 as the values are.
  static Tensor from(std::span<const int32_t> values, Shape shape, const Device& device);
  static Tensor from(std::span<const int64_t> values, Shape shape, const Device& device);
  // A value that an op never computes but that the tape passes through: the inner stage of a fused op.
  static Tensor without_storage(Shape shape, DType type, const Device& device);
  // A gradient that is not computed yet.
  static Tensor deferred(Shape shape, DType type, const Device& device, std::shared_ptr<Deferred> by);

  bool defined() const { return storage_ != nullptr || virtual_; }
  // Of all that share its memory the same, and of no others, even when that memory is free again.
  std::weak_ptr<const void> identity() const { return storage_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const;  // from the back below 0; ShapeError where there is no such axis
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t count() const { return firn::count(shape_); }
  DType type() const { return type_; }
  const Device& device() const { return device_; }
  const Stream& stream() const { return device_.stream(); }

  // An uninitialised tensor on the same device.
  Tensor like(Shape shape) const { return empty(std::move(shape), type_, device_); }
  Tensor like(Shape shape, DType type) const { return empty(std::move(shape), type, device_); }
  Tensor like() const { return like(shape_); }

  // ShapeError where there are no values.
  const void* data() const { return storage().data; }
  void* mutable_data();  // tells the weight cache that they change
  // As elements of the tensor's own type; ShapeError for another.
  template <class T>
  const T* as() const {
    require_type(dtype_of<T>);
    return static_cast<const T*>(data());
  }
  template <class T>
  T* mutable_as() {
    require_type(dtype_of<T>);
    return static_cast<T*>(mutable_data());
  }
  kernels::WeightCache& weight_cache() const;  // of what is derived from the contents

  double item() const;  // the only element; ShapeError if there are more
  std::vector<float> to_floats() const;
  std::vector<double> to_doubles() const;
  std::vector<int64_t> to_integers() const;  // of i32 or i64; ShapeError otherwise
  // Same count; converts the type, but for integers; writes this storage in place.
  void copy_from(const Tensor& source);
  // Writes this storage of i32 in place, in the order of the stream: nobody waits. ShapeError unless they fill it.
  void put(std::span<const int32_t> values);

  // Tape (engine/tape.h).
  bool wants_grad() const { return node_ != nullptr; }
  Tensor detach() const;  // the same values, no history
  // The same values as a new leaf that gradients can be asked for; ShapeError for integers.
  Tensor require_grad() const;
  const std::shared_ptr<Node>& node() const { return node_; }
  void set_node(std::shared_ptr<Node> node) { node_ = std::move(node); }
  const std::shared_ptr<Deferred>& deferred() const { return deferred_; }

  // The same storage under another shape of equal count, without history; the op is reshape() in engine/ops.h.
  Tensor view(Shape shape) const;

 private:
  Storage& storage() const;  // ShapeError where there is none
  void require_type(DType t) const {
    if (t != type_) throw_other_type(type_, name_of(t));
  }

  Shape shape_;
  DType type_ = DType::f32;
  bool virtual_ = false;
  Device device_ = Device::cpu();
  std::shared_ptr<Storage> storage_;
  std::shared_ptr<Node> node_;
  std::shared_ptr<Deferred> deferred_;
};

}  // namespace firn
