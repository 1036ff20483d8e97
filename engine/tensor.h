// A dense row-major array on a device, and its place on the tape. Copies share storage; ops never write their inputs.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/conv/conv.h"
#include "kernels/core/types.h"

namespace firn {

using Shape = std::vector<int64_t>;
int64_t count(const Shape&);
std::string to_string(const Shape&);  // "[8,32,32,3]"

struct Node;      // engine/tape.h
struct Deferred;  // likewise

// Memory that tensors share. `version` grows with every write, so that what was derived from the contents can tell.
struct Storage {
  Storage(const Device& device, size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device;
  size_t bytes;
  void* data;
  uint64_t version = 0;
  kernels::WeightCache weight_cache;
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
  // A value that an op never computes but that the tape passes through: the inner stage of a fused op.
  static Tensor without_storage(Shape shape, DType type, const Device& device);
  // A gradient that is not computed yet.
  static Tensor deferred(Shape shape, DType type, const Device& device, std::shared_ptr<Deferred> by);

  bool defined() const { return storage_ != nullptr || virtual_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[static_cast<size_t>(i < 0 ? i + rank() : i)]; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t count() const { return firn::count(shape_); }
  DType type() const { return type_; }
  const Device& device() const { return device_; }
  const Stream& stream() const { return device_.stream(); }

  // An uninitialised tensor on the same device.
  Tensor like(Shape shape) const { return empty(std::move(shape), type_, device_); }
  Tensor like(Shape shape, DType type) const { return empty(std::move(shape), type, device_); }
  Tensor like() const { return like(shape_); }

  const void* data() const { return storage_->data; }
  void* mutable_data();  // tells every cache of this storage that it changed
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data());
  }
  template <class T>
  T* mutable_as() {
    return static_cast<T*>(mutable_data());
  }
  kernels::WeightCache& weight_cache() const;  // emptied if the contents changed since it was filled
  // A copy that an optimiser writes together with these weights, or null; it counts as current from now on.
  kernels::RoundedCopy* rounded_copy();

  double item() const;  // the only element; ShapeError if there are more
  std::vector<float> to_floats() const;
  std::vector<double> to_doubles() const;
  void copy_from(const Tensor& source);  // same count; converts the type; writes this storage in place

  // Tape (engine/tape.h).
  bool wants_grad() const { return node_ != nullptr; }
  Tensor detach() const;        // the same values, no history
  Tensor require_grad() const;  // the same values as a new leaf that gradients can be asked for
  const std::shared_ptr<Node>& node() const { return node_; }
  void set_node(std::shared_ptr<Node> node) { node_ = std::move(node); }
  const std::shared_ptr<Deferred>& deferred() const { return deferred_; }

  // The same storage under another shape of equal count, without history; the op is reshape() in engine/ops.h.
  Tensor view(Shape shape) const;

 private:
  Shape shape_;
  DType type_ = DType::f32;
  bool virtual_ = false;
  Device device_ = Device::cpu();
  std::shared_ptr<Storage> storage_;
  std::shared_ptr<Node> node_;
  std::shared_ptr<Deferred> deferred_;
};

// Empties every weight cache at its next use: contents may have changed without their version.
void forget_weight_caches();

// While it lives, weight caches are filled anew, so that what happens does not depend on what happened before.
class WeightCacheScope {
 public:
  WeightCacheScope();
  ~WeightCacheScope();
  WeightCacheScope(const WeightCacheScope&) = delete;
  WeightCacheScope& operator=(const WeightCacheScope&) = delete;
  void drop() const;  // empties those that were filled meanwhile, as its end does
  const std::vector<std::weak_ptr<Storage>>& filled() const { return filled_; }

 private:
  friend class Tensor;
  std::vector<std::weak_ptr<Storage>> filled_;
};

}  // namespace firn
