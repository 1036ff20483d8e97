#include "engine/tensor.h"

#include <fmt/format.h>

#include "base/error.h"
#include "engine/tape.h"
#include "kernels/device/memory.h"
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
  Tensor t = without_storage(std::move(shape), type, device);
  t.virtual_ = false;
  t.storage_ = std::make_shared<Storage>(device, static_cast<size_t>(t.count()) * size_of(type));
  return t;
}

Tensor Tensor::full(Shape shape, double value, DType type, const Device& device) {
  Tensor t = empty(std::move(shape), type, device);
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    run(t.stream(), kernels::Fill<T>{t.mutable_as<T>(), t.count(), static_cast<acc_t<T>>(value)});
  });
  return t;
}

Tensor Tensor::zeros(Shape shape, DType type, const Device& device) { return full(std::move(shape), 0, type, device); }

namespace {

template <class From>
Tensor from_host(std::span<const From> values, Shape shape, DType type, const Device& device) {
  if (static_cast<int64_t>(values.size()) != count(shape))
    throw ShapeError(fmt::format("{} values do not fill a tensor {}", values.size(), to_string(shape)));
  Tensor t = Tensor::empty(std::move(shape), type, device);
  dispatch(type, [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> host(values.size());
    for (size_t i = 0; i < values.size(); ++i) host[i] = T(static_cast<acc_t<T>>(values[i]));
    kernels::copy_from_host(t.stream(), t.mutable_data(), host.data(), host.size() * sizeof(T));
  });
  return t;
}

template <class To>
std::vector<To> to_host(const Tensor& t) {
  return dispatch(t.type(), [&](auto tag) {
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

void* Tensor::mutable_data() {
  ++storage_->version;
  return storage_->data;
}

namespace {
uint64_t cache_epoch = 0;  // one thread drives the engine
WeightCacheScope* cache_scope = nullptr;
}  // namespace

void forget_weight_caches() { ++cache_epoch; }

WeightCacheScope::WeightCacheScope() {
  forget_weight_caches();
  cache_scope = this;
}

WeightCacheScope::~WeightCacheScope() {
  drop();
  cache_scope = nullptr;
  forget_weight_caches();
}

void WeightCacheScope::drop() const {
  for (const auto& weak : filled_)
    if (const auto storage = weak.lock()) storage->weight_cache.entries.clear();
}

kernels::WeightCache& Tensor::weight_cache() const {
  kernels::WeightCache& cache = storage_->weight_cache;
  if (cache.version != storage_->version || cache.epoch != cache_epoch) {
    cache.entries.clear();
    cache.version = storage_->version;
    cache.epoch = cache_epoch;
    cache.lasting = !cache_scope;
    if (cache_scope) cache_scope->filled_.push_back(storage_);
  }
  return cache;
}

kernels::RoundedCopy* Tensor::rounded_copy() {
  kernels::RoundedCopy& copy = storage_->weight_cache.rounded;
  copy.version = storage_->version;
  copy.written = copy.data != nullptr;
  return copy.written ? &copy : nullptr;
}

double Tensor::item() const {
  if (count() != 1) throw ShapeError(fmt::format("item: expected one element, the tensor is {}", to_string(shape_)));
  return to_doubles()[0];
}

std::vector<float> Tensor::to_floats() const { return to_host<float>(*this); }
std::vector<double> Tensor::to_doubles() const { return to_host<double>(*this); }

void Tensor::copy_from(const Tensor& source) {
  if (source.count() != count())
    throw ShapeError(fmt::format("copy_from: {} into {}", to_string(source.shape()), to_string(shape_)));
  if (source.type() == type_) {
    dispatch(type_, [&](auto tag) {
      using T = decltype(tag);
      run(stream(), kernels::StridedCopy<T>{mutable_as<T>(), source.as<T>(), 1, {count()}, {1}, {1}});
    });
  } else {
    const std::vector<double> values = source.to_doubles();
    dispatch(type_, [&](auto tag) {
      using T = decltype(tag);
      std::vector<T> host(values.size());
      for (size_t i = 0; i < host.size(); ++i) host[i] = T(static_cast<acc_t<T>>(values[i]));
      kernels::copy_from_host(stream(), mutable_data(), host.data(), host.size() * sizeof(T));
    });
  }
}

Tensor Tensor::detach() const {
  Tensor t = *this;
  t.node_ = nullptr;
  return t;
}

Tensor Tensor::require_grad() const {
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
