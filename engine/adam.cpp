#include "engine/adam.h"

#include <cmath>
#include <numeric>

#include "kernels/adam.h"
#include "kernels/error.h"
#include "kernels/memory.h"

namespace firn {

namespace {

// A kernel's table of tensors in the memory of the device.
template <class Entry>
Tensor upload(const std::vector<Entry>& table, const Device& device) {
  const size_t bytes = table.size() * sizeof(Entry);
  Tensor t = Tensor::empty({static_cast<int64_t>((bytes + 3) / 4)}, DType::f32, device);
  kernels::copy_from_host(t.stream(), t.mutable_data(), table.data(), bytes);
  return t;
}

int64_t blocks_for(int64_t count, int64_t chunk) { return (count + chunk - 1) / chunk; }

}  // namespace

Adam::Adam(Parameters parameters, AdamOptions options) : parameters_(std::move(parameters)), options_(options) {
  for (const Parameter& p : parameters_) {
    const auto zeros = [&] { return Tensor::zeros(p.value().shape(), p.value().type(), p.value().device()); };
    m_.push_back(options_.beta1 > 0 ? zeros() : Tensor{});
    v_.push_back(zeros());
  }
}

void Adam::step(const std::vector<Tensor>& gradients) {
  if (gradients.size() != parameters_.size())
    throw ShapeError(fmt::format("Adam: {} gradients for {} parameters", gradients.size(), parameters_.size()));
  ++step_;
  if (gradients.empty()) return;
  const Device device = gradients[0].device();
  dispatch_acc(gradients[0].type(), [&](auto tag) {
    using T = decltype(tag);
    using Kernel = kernels::Adam<T>;
    std::vector<kernels::AdamTensor<T>> table;
    int64_t blocks = 0;
    for (size_t i = 0; i < gradients.size(); ++i) {
      Parameter p = parameters_[i];
      if (gradients[i].shape() != p.value().shape() || gradients[i].type() != p.value().type())
        throw ShapeError(fmt::format("Adam: {} is {} {}, its gradient {} {}", p.name(), to_string(p.value().shape()),
                                     name_of(p.value().type()), to_string(gradients[i].shape()),
                                     name_of(gradients[i].type())));
      table.push_back({p.value().mutable_as<T>(), gradients[i].as<T>(),
                       m_[i].defined() ? m_[i].mutable_as<T>() : nullptr, v_[i].mutable_as<T>(), p.count(), blocks});
      blocks += blocks_for(p.count(), Kernel::chunk);
    }
    const Tensor entries = upload(table, device);
    Tensor repaired = Tensor::empty({blocks}, DType::f64, device);  // 8-byte slots for the kernel's counts
    const double t = static_cast<double>(step_);
    run(device.stream(),
        Kernel{static_cast<const kernels::AdamTensor<T>*>(entries.data()),
               static_cast<int64_t*>(repaired.mutable_data()), static_cast<int>(table.size()), blocks,
               static_cast<T>(options_.lr), static_cast<T>(options_.beta1), static_cast<T>(options_.beta2),
               static_cast<T>(options_.eps), static_cast<T>(1 - std::pow(options_.beta1, t)),
               static_cast<T>(1 - std::pow(options_.beta2, t))});
    std::vector<int64_t> counts(static_cast<size_t>(blocks));
    kernels::copy_to_host(device.stream(), counts.data(), repaired.data(), counts.size() * sizeof(int64_t));
    repaired_ += std::accumulate(counts.begin(), counts.end(), int64_t{0});
  });
}

void update_average(const Parameters& averages, const Parameters& current, double beta) {
  if (averages.size() != current.size()) throw ShapeError("update_average: the networks differ");
  if (averages.empty()) return;
  dispatch_acc(averages[0].value().type(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<kernels::LerpTensor<T>> table;
    int64_t blocks = 0;
    for (size_t i = 0; i < averages.size(); ++i) {
      Parameter y = averages[i];
      const Tensor& x = current[i].value();
      if (y.value().shape() != x.shape()) throw ShapeError("update_average: the networks differ");
      if (y.buffer()) {
        y.value().copy_from(x);
        continue;
      }
      table.push_back({y.value().mutable_as<T>(), x.as<T>(), x.count(), blocks});
      blocks += blocks_for(x.count(), kernels::Lerp<T>::chunk);
    }
    if (table.empty()) return;
    const Device device = averages[0].value().device();
    const Tensor entries = upload(table, device);
    run(device.stream(), kernels::Lerp<T>{static_cast<const kernels::LerpTensor<T>*>(entries.data()),
                                          static_cast<int>(table.size()), blocks, static_cast<T>(beta)});
  });
}

}  // namespace firn
