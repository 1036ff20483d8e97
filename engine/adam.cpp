#include "engine/adam.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/control.h"

namespace firn {

namespace {

template <class Kernel>
int64_t blocks_for(int64_t count) {
  return (count + Kernel::chunk - 1) / Kernel::chunk;
}

// Calls launch(kernel, first block of all) for tables of as many entries as fit in one launch. entry(i) fills in entry
// i of `tensors` but for its first block.
template <class Kernel, class Entry, class Launch>
void in_launches(Kernel kernel, size_t tensors, const Entry& entry, const Launch& launch) {
  int64_t blocks_before = 0;
  kernel.tensor_count = 0;
  kernel.block_count = 0;
  for (size_t i = 0; i < tensors; ++i) {
    auto& e = kernel.tensors[kernel.tensor_count++];
    e = entry(i);
    e.first_block = kernel.block_count;
    kernel.block_count += blocks_for<Kernel>(e.count);
    if (kernel.tensor_count < kernels::kTensorsPerLaunch && i + 1 < tensors) continue;
    launch(kernel, blocks_before);
    blocks_before += kernel.block_count;
    kernel.tensor_count = 0;
    kernel.block_count = 0;
  }
}

// body(first row, end) for the runs of neighbours among `rows`.
template <class Body>
void each_run(const std::vector<int32_t>& rows, const Body& body) {
  for (size_t i = 0, end; i < rows.size(); i = end) {
    for (end = i + 1; end < rows.size() && rows[end] == rows[end - 1] + 1; ++end) {
    }
    body(rows[i], rows[end - 1] + 1);
  }
}

std::vector<int32_t> others(const TrainedRows& rows) {
  std::vector<int32_t> result;
  auto next = rows.numbers.begin();
  for (int32_t r = 0; r < rows.back.count(); ++r)
    if (next != rows.numbers.end() && *next == r)
      ++next;
    else
      result.push_back(r);
  return result;
}

void require_alike(const char* who, const Parameters& a, const Parameters& b) {
  bool alike = a.size() == b.size();
  for (size_t i = 0; alike && i < a.size(); ++i)
    alike = a[i].value().shape() == b[i].value().shape() && a[i].value().type() == b[i].value().type();
  if (!alike) throw ShapeError(fmt::format("{}: the networks differ", who));
}

}  // namespace

Adam::Adam(Parameters parameters, AdamOptions options)
    : parameters_(std::move(parameters)), options_(std::move(options)) {
  int64_t blocks = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    const DType type = p.value().type();
    if (type != acc_type(type) || is_integer(type) || type != parameters_[0].value().type())
      throw ShapeError(fmt::format("Adam: {} is {}; expected f32 or f64, the same of all", p.name(), name_of(type)));
    m_.push_back(options_.beta1 > 0 ? zero_gradient(p.value()) : Tensor{});
    v_.push_back(zero_gradient(p.value()));
    if (const TrainedRowsPtr rows = rows_of(p.value())) {
      const int64_t row = p.count() / p.value().dim(0);
      int64_t from = 0;
      each_run(rows->numbers, [&](int64_t first, int64_t end) {
        spans_.push_back({i, first * row, from, (end - first) * row});
        from += spans_.back().count;
      });
    } else {
      spans_.push_back({i, 0, 0, p.count()});
    }
    if (p.value().stream().is_cuda) p.value().weight_cache().expect_optimizer();
  }
  for (const Span& s : spans_) blocks += blocks_for<kernels::Adam<float>>(s.count);
  if (parameters_.empty()) return;
  const Tensor& first = parameters_[0].value();
  rates_ = Tensor::zeros({4}, first.type(), first.device());
  repaired_ = Tensor::zeros({blocks}, DType::i64, first.device());
}

double Adam::lr_share(const Parameter& p) const {
  for (const auto& [pattern, share] : options_.lr_shares)
    if (matches(p.name(), pattern)) return share;
  return 1;
}

void Adam::keep_averages(Parameters averages) {
  require_alike("Adam", averages, parameters_);
  averages_ = std::move(averages);
}

void Adam::advance(double average_decay) {
  ++step_;
  if (parameters_.empty()) return;
  const double t = static_cast<double>(step_);
  dispatch_acc(rates_.type(), [&](auto tag) {
    using T = decltype(tag);
    const T rates[4] = {static_cast<T>(options_.lr), static_cast<T>(1 - std::pow(options_.beta1, t)),
                        static_cast<T>(1 - std::pow(options_.beta2, t)), static_cast<T>(average_decay)};
    kernels::set_values<T>(rates_.stream(), rates_.mutable_data(), rates);
  });
}

void Adam::apply(const std::vector<Tensor>& gradients) {
  if (gradients.size() != parameters_.size())
    throw ShapeError(fmt::format("Adam: {} gradients for {} parameters", gradients.size(), parameters_.size()));
  if (gradients.empty()) return;
  dispatch_acc(rates_.type(), [&](auto tag) {
    using T = decltype(tag);
    kernels::Adam<T> kernel{.rates = static_cast<const kernels::AdamRates<T>*>(rates_.data()),
                            .beta1 = static_cast<T>(options_.beta1),
                            .beta2 = static_cast<T>(options_.beta2),
                            .eps = static_cast<T>(options_.eps)};
    std::vector<kernels::AdamTensor<T>> whole;
    for (size_t i = 0; i < gradients.size(); ++i) {
      Parameter p = parameters_[i];
      const Tensor& g = gradients[i];
      if (g.shape() != v_[i].shape() || g.type() != p.value().type() || g.type() != rates_.type())
        throw ShapeError(fmt::format("Adam: {} is {} {}, its gradient {} {}", p.name(), to_string(v_[i].shape()),
                                     name_of(p.value().type()), to_string(g.shape()), name_of(g.type())));
      if (v_[i].count() < p.count()) p.value().weight_cache().refresh();  // only a part of the copy is written
      kernels::AdamTensor<T> e{.p = p.value().mutable_as<T>(),
                               .g = g.as<T>(),
                               .m = m_[i].defined() ? m_[i].mutable_as<T>() : nullptr,
                               .v = v_[i].mutable_as<T>(),
                               .lr_share = static_cast<T>(lr_share(p))};
      if (!averages_.empty()) e.average = Parameter(averages_[i]).value().mutable_as<T>();
      const auto [rounded, gain] = p.value().weight_cache().rewritten();
      e.rounded = rounded, e.gain = gain;
      whole.push_back(e);
    }
    const auto entry = [&](size_t i) {
      const Span& s = spans_[i];
      kernels::AdamTensor<T> e = whole[s.of];
      e.p += s.at, e.g += s.from, e.v += s.from, e.count = s.count;
      if (e.m) e.m += s.from;
      if (e.average) e.average += s.at;
      if (e.rounded) e.rounded += s.at;
      return e;
    };
    in_launches(kernel, spans_.size(), entry, [&](kernels::Adam<T>& k, int64_t blocks_before) {
      k.repaired = repaired_.mutable_as<int64_t>() + blocks_before;
      run(rates_.stream(), k);
    });
  });
}

int64_t Adam::repaired() const {
  if (!repaired_.defined()) return 0;
  const std::vector<int64_t> counts = repaired_.to_integers();
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

void update_average(const Parameters& averages, const Parameters& current, double beta, Part part) {
  require_alike("update_average", averages, current);
  struct Span {
    size_t of;
    int64_t at, count;
  };
  std::vector<Span> spans;
  for (size_t i = 0; i < averages.size(); ++i) {
    const Parameter& p = current[i];
    const int64_t row = p.rows() ? p.count() / p.value().dim(0) : 0;
    if (part == Part::frozen && row && !p.frozen())
      each_run(others(*p.rows()), [&](int64_t from, int64_t end) {
        spans.push_back({i, from * row, (end - from) * row});
      });
    else
      spans.push_back({i, 0, p.count()});
  }
  if (spans.empty()) return;
  const Tensor& first = averages[0].value();
  dispatch_acc(first.type(), [&](auto tag) {
    using T = decltype(tag);
    const auto entry = [&](size_t k) {
      const auto [i, at, n] = spans[k];
      Parameter y = averages[i];
      return kernels::LerpTensor<T>{y.value().mutable_as<T>() + at, current[i].value().as<T>() + at,
                                    y.buffer() ? T(0) : static_cast<T>(beta), n, 0};
    };
    in_launches(kernels::Lerp<T>{}, spans.size(), entry, [&](kernels::Lerp<T>& k, int64_t) { run(first.stream(), k); });
  });
}

}  // namespace firn
