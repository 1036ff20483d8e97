// How the tests of ops make inputs and judge results.
#pragma once
#include <utility>

#include "kernels/choice/provider_numerics.h"
#include "tests/engine/op_cases.h"

namespace firn::tests {

// While one lives, a GPU runs our kernels for shapes so small that libraries would be asked instead.
class WithoutLibraries {
 public:
  WithoutLibraries() : saved_(std::exchange(kernels::initial_numerics().libraries, false)) {}
  ~WithoutLibraries() { kernels::initial_numerics().libraries = saved_; }
  WithoutLibraries(const WithoutLibraries&) = delete;
  WithoutLibraries& operator=(const WithoutLibraries&) = delete;

 private:
  bool saved_;
};

// The same values in every type: exact in bf16.
std::vector<Tensor> inputs_of(const OpCase& c, DType type = DType::f64, const Device& device = Device::cpu());
std::vector<Tensor> as_leaves(const std::vector<Tensor>& inputs);

// A fixed random weighting of all outputs, so that no gradient hides behind symmetry.
Tensor weighted_sum(const Tensor& y, uint64_t seed);

// sum_i <df/dx_i, r_i> for f = weighted_sum(c.fn(x)): its gradients are those of second order.
Tensor directional_derivative(const OpCase& c, const std::vector<Tensor>& inputs);

// The largest difference between a value or gradient in `type` on `device` and the same in double on the CPU, relative
// to the tensor's largest value; with second order, for the gradients of directional_derivative as well.
double precision_error(const OpCase& c, DType type, const Device& device = Device::cpu(), bool second_order = false);

// How far precision_error on a GPU may go. Where second derivatives cancel, the CPU's own error says how far a type can
// be trusted.
double device_tolerance(const OpCase& op, DType type);

}  // namespace firn::tests
