// One table of ops for the tests of values and gradients and for bench/op_bench.
#pragma once
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "engine/ops.h"

namespace firn::tests {

struct OpCase {
  std::string name;
  // Shapes of the inputs, small for tests and of a real layer for the bench.
  std::vector<Shape> shapes, bench_shapes;
  std::function<Tensor(const std::vector<Tensor>&)> fn;
  // Maps N(0,1) values into the op's domain, away from kinks; identity when empty.
  std::function<double(double)> domain;
  std::string
      activations;   // one letter an input: 'a' is stored as bf16 in bf16 runs, 'w' stays f32; empty: no bf16 runs
  double flops = 0;  // of one forward at the bench shapes
};

inline void PrintTo(const OpCase& c, std::ostream* out) { *out << c.name; }  // how GoogleTest names a case

const std::vector<OpCase>& op_cases();
std::vector<OpCase> sngan_cases();    // those of them that only SNGAN-projection needs (op_cases_sngan.cpp),
std::vector<OpCase> feature_cases();  // that only feature networks need (op_cases_features.cpp),
std::vector<OpCase> augment_cases();  // and that augmentation needs (op_cases_augment.cpp)

// Leaky ReLU has a kink where its argument is 0. Inputs keep 0.1 away from zero, and the other terms (bias, noise,
// demodulation of about 1) are scaled down so that they never carry an input across.
double off_zero(double v);
Tensor small(const Tensor& t);
// A bias that keeps what a convolution gives on one side of zero in even channels, on the other in odd ones.
Tensor alternating(const Tensor& b, double size);
// [outputs,3,3,I] for x, without a gradient.
Tensor fixed_weights(int64_t outputs, const Tensor& x);

// Those that an interpreter of device code gets through: without the ones as large as a CPU provider wants them.
std::vector<OpCase> small_op_cases();

}  // namespace firn::tests
