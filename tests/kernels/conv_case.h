// One convolution with random operands, and what the definition of kernels/conv/conv.cu makes of them in double
// precision; for every instruction set that this processor has.
#pragma once
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "engine/ops.h"
#include "kernels/conv/conv.h"
#include "kernels/core/cpu_target.h"

namespace firn::tests {

using kernels::ConvProblem;
using kernels::CpuTarget;
using kernels::CpuTargetScope;

inline const Stream kCpu;

// Relative root of the mean squared error in f32. Measured: at most 2.6e-6.
inline constexpr double kMostError = 5e-6;
inline constexpr double kRounding = 1.0 / 256;  // of bf16

inline std::vector<CpuTarget> targets() {
  std::vector<CpuTarget> found;
  for (const CpuTarget t : {CpuTarget::baseline, CpuTarget::avx2, CpuTarget::avx512})
    if (kernels::has(t)) found.push_back(t);
  return found;
}

inline Tensor wide(const Tensor& t) { return cast(t, DType::f64); }

inline double relative_error(const Tensor& found, const Tensor& expected) {
  const std::vector<double> a = wide(found).to_doubles(), b = expected.to_doubles();
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) error += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(error / size);
}

// Operands of one problem, and what the definition makes of them in double.
struct Case {
  ConvProblem p;
  Tensor big, small, w;

  Case(const ConvProblem& problem, uint64_t seed) : p(problem) {
    Rng rng{.seed = seed};
    const Device cpu = Device::cpu();
    big = cast(randn({p.N, p.H, p.W, p.I}, rng, DType::f32, cpu), p.type);
    small = cast(randn({p.N, p.OH, p.OW, p.O}, rng, DType::f32, cpu), p.type);
    w = randn(p.swapped ? Shape{p.I, p.KH, p.KW, p.O} : Shape{p.O, p.KH, p.KW, p.I}, rng, DType::f32, cpu);
  }

  Tensor expected_forward(const Tensor& x) const {
    Tensor y = Tensor::empty(small.shape(), DType::f64, Device::cpu());
    const Tensor weights = wide(w);
    run(kCpu, kernels::ConvForward<double>{y.mutable_as<double>(), x.as<double>(), weights.as<double>(), in_double()});
    return y;
  }
  Tensor expected_backward_data() const {
    Tensor x = Tensor::empty(big.shape(), DType::f64, Device::cpu());
    const Tensor weights = wide(w), gy = wide(small);
    run(kCpu,
        kernels::ConvBackwardData<double>{x.mutable_as<double>(), gy.as<double>(), weights.as<double>(), in_double()});
    return x;
  }
  Tensor expected_backward_weights() const {
    Tensor dw = Tensor::empty(w.shape(), DType::f64, Device::cpu());
    const Tensor x = wide(big), gy = wide(small);
    run(kCpu,
        kernels::ConvBackwardWeights<double>{dw.mutable_as<double>(), x.as<double>(), gy.as<double>(), in_double()});
    return dw;
  }

  double tolerance() const { return p.type == DType::bf16 ? kRounding : kMostError; }
  std::string describe() const {
    return fmt::format("N{} {}x{}x{} -> {}x{}x{} window {}x{} stride {} pad {},{} {} {}", p.N, p.H, p.W, p.I, p.OH,
                       p.OW, p.O, p.KH, p.KW, p.stride, p.pad_y, p.pad_x, p.swapped ? "swapped" : "", name_of(p.type));
  }

 private:
  ConvProblem in_double() const {
    ConvProblem q = p;
    q.type = DType::f64;
    return q;
  }
};

}  // namespace firn::tests
