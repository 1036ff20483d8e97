#include "engine/tensor.h"

#include <fmt/format.h>

#include "base/error.h"
#include "engine/tape.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"
#include "kernels/ops/elementwise.h"

namespace firn {

int64_t count(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

Storage::Storage(const Device& device, size_t bytes)
    : device(device), bytes(bytes), data(kernels::allocate(device.stream(), bytes)) {}

Storage::~Storage() { kernels::release(device.stream(), data, bytes); }

Tensor Tensor::without_storage(Shape shape, DType type, const Device& device) {
  Tensor t;
  t.shape_ = std::move(shape);
  t.type_ = type;
  t.device_ = device;
  t.virtual_ = true;
  return t;
}

Tensor Tensor::deferred(Shape shape, DType type, const Device& device, std::shared_ptr<Deferred> by) {
  Tensor t = without_storage(std::move(shape), type, device);
  t.deferred_ = std::move(by);
  return t;
}

Tensor Tensor::empty(Shape shape, DType type, const Device& device) {
  for (const int64_t d : shape)
    if (d < 0) throw ShapeError(fmt::format("a tensor cannot be {}", to_string(shape)));
  Tensor t = without_storage(std::move(shape), type, device);
  t.virtual_ = false;
  t.storage_ = std::make_shared<Storage>(device, static_cast<size_t>(t.count()) * size_of(type));
  return t;
}

Tensor Tensor::full(Shape shape, double value, DType type, const Device& device) {
  Tensor t = empty(std::move(shape), type, device);
  dispatch_any(type, [&](auto tag) {
    using T = decltype(tag);
    run(t.stream(), kernels::Fill<T>{t.mutable_as<T>(), t.count(), static_cast<acc_t<T>>(value)});
  });
  return t;
}

Tensor Tensor::zeros(Shape shape, DType type, const Device& device) { return full(std::move(shape), 0, type, device); }

namespace {

void require_count(size_t values, const Shape& shape) {
  if (static_cast<int64_t>(values) != count(shape))
    throw ShapeError(fmt::format("{} values do not fill a tensor {}", values, to_string(shape)));
}

template <class From>
Tensor from_host(std::span<const From> values, Shape shape, DType type, const Device& device) {
  require_count(values.size(), shape);
  Tensor t = Tensor::empty(std::move(shape), type, device);
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> host(values.size());
    for (size_t i = 0; i < values.size(); ++i) host[i] = T(static_cast<acc_t<T>>(values[i]));
    kernels::copy_from_host(t.stream(), t.mutable_data(), host.data(), host.size() * sizeof(T));
  });
  return t;
}

template <class T>
Tensor integers(std::span<const T> values, Shape shape, const Device& device) {
  require_count(values.size(), shape);
  Tensor t = Tensor::empty(std::move(shape), dtype_of<T>, device);
  kernels::copy_from_host(t.stream(), t.mutable_data(), values.data(), values.size_bytes());
  return t;
}

template <class To>
std::vector<To> to_host(const Tensor& t) {
  return dispatch_any(t.type(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> host(static_cast<size_t>(t.count()));
    kernels::copy_to_host(t.stream(), host.data(), t.data(), host.size() * sizeof(T));
    std::vector<To> values(host.size());
    for (size_t i = 0; i < host.size(); ++i) values[i] = static_cast<To>(acc_t<T>(host[i]));
    return values;
  });
}

}  // namespace

Tensor Tensor::from(std::span<const float> values, Shape shape, DType type, const Device& device) {
  return from_host(values, std::move(shape), type, device);
}

Tensor Tensor::from(std::span<const double> values, Shape shape, DType type, const Device& device) {
  return from_host(values, std::move(shape), type, device);
}

Tensor Tensor::from(std::span<const int32_t> values, Shape shape, const Device& device) {
  return integers(values, std::move(shape), device);
}

Tensor Tensor::from(std::span<const int64_t> values, Shape shape, const Device& device) {
  return integers(values, std::move(shape), device);
}

int64_t Tensor::dim(int i) const {
  const int axis = i < 0 ? i + rank() : i;
  if (axis < 0 || axis >= rank()) throw ShapeError(fmt::format("a tensor {} has no axis {}", to_string(shape_), i));
  return shape_[static_cast<size_t>(axis)];
}

Storage& Tensor::storage() const {
  if (!storage_) throw ShapeError(fmt::format("a tensor {} without values is read", to_string(shape_)));
  return *storage_;
}

void* Tensor::mutable_data() {
  if (storage().weight_cache) storage_->weight_cache->written();
  return storage_->data;
}

kernels::WeightCache& Tensor::weight_cache() const {
  std::shared_ptr<kernels::WeightCache>& cache = storage().weight_cache;
  if (!cache) cache = std::make_shared<kernels::WeightCache>();
  return *cache;
}

double Tensor::item() const {
  if (count() != 1) throw ShapeError(fmt::format("item: expected one element, the tensor is {}", to_string(shape_)));
  return to_doubles()[0];
}

std::vector<float> Tensor::to_floats() const { return to_host<float>(*this); }
std::vector<double> Tensor::to_doubles() const { return to_host<double>(*this); }

std::vector<int64_t> Tensor::to_integers() const {
  if (!is_integer(type_)) throw_other_type(type_, "i32 or i64");
  return to_host<int64_t>(*this);
}

void Tensor::copy_from(const Tensor& source) {
  if (source.count() != count())
    throw ShapeError(fmt::format("copy_from: {} into {}", to_string(source.shape()), to_string(shape_)));
  if (source.type() == type_ && source.device() == device_) {
    dispatch_any(type_, [&](auto tag) {
      using T = decltype(tag);
      run(stream(), kernels::StridedCopy<T>{mutable_as<T>(), source.as<T>(), 1, {count()}, {1}, {1}});
    });
  } else if (source.type() == type_) {
    std::vector<std::byte> host(static_cast<size_t>(count()) * size_of(type_));
    kernels::copy_to_host(source.stream(), host.data(), source.data(), host.size());
    kernels::copy_from_host(stream(), mutable_data(), host.data(), host.size());
  } else {
    if (is_integer(source.type())) throw_other_type(source.type(), name_of(type_));
    const std::vector<double> values = source.to_doubles();
    dispatch(type_, [&](auto tag) {
      using T = decltype(tag);
      std::vector<T> host(values.size());
      for (size_t i = 0; i < host.size(); ++i) host[i] = T(static_cast<acc_t<T>>(values[i]));
      kernels::copy_from_host(stream(), mutable_data(), host.data(), host.size() * sizeof(T));
    });
  }
}

void Tensor::put(std::span<const int32_t> values) {
  require_type(DType::i32);
  require_count(values.size(), shape_);
  kernels::set_values(stream(), mutable_data(), values);
}

Tensor Tensor::detach() const {
  Tensor t = *this;
  t.node_ = nullptr;
  return t;
}

Tensor Tensor::require_grad() const {
  if (is_integer(type_)) throw ShapeError(fmt::format("require_grad: {} has no gradient", name_of(type_)));
  Tensor t = detach();
  t.node_ = std::make_shared<Node>(Node{"leaf", {}, without_storage(shape_, type_, device_)});
  return t;
}

Tensor Tensor::view(Shape shape) const {
  if (firn::count(shape) != count())
    throw ShapeError(fmt::format("view: {} has another count than {}", to_string(shape), to_string(shape_)));
  Tensor t = detach();
  t.shape_ = std::move(shape);
  return t;
}

}  // namespace firn
