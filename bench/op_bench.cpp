// Google Benchmark over the table of ops that the tests use, at the shapes of real layers: forward, backward, and
// backward with every weight frozen. Reports FLOP/s of the forward's products and bytes/s of inputs and output.
//   op_bench --benchmark_filter='conv2d_k3/.*bf16'
#include <benchmark/benchmark.h>

#include <fmt/core.h>

#include "engine/threads.h"
#include "tests/op_cases.h"

namespace {

using namespace firn;
using firn::tests::OpCase;

enum class Direction { forward, backward, backward_frozen };

std::vector<Tensor> inputs_of(const OpCase& c, DType type, Direction direction) {
  Rng rng{.seed = 1};
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.bench_shapes.size(); ++i) {
    const bool weight = !c.activations.empty() && c.activations[i] == 'w';
    Tensor t = cast(randn(c.bench_shapes[i], rng, DType::f32, Device::cpu()), weight ? DType::f32 : type);
    if (c.domain) t = cast(affine(square(cast(t, DType::f32)), 1, 0.5), t.type());
    const bool frozen = direction == Direction::backward_frozen && weight;
    inputs.push_back(direction == Direction::forward || frozen ? t : t.require_grad());
  }
  return inputs;
}

void run_case(benchmark::State& state, const OpCase& c, DType type, Direction direction) {
  const std::vector<Tensor> inputs = inputs_of(c, type, direction);
  double bytes = 0;
  for (const Tensor& t : inputs) bytes += double(t.count()) * double(size_of(t.type()));
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs)
    if (t.wants_grad()) leaves.push_back(t);
  const Tensor y = c.fn(inputs);
  bytes += double(y.count()) * double(size_of(y.type()));
  for (auto _ : state) {
    if (direction == Direction::forward) {
      benchmark::DoNotOptimize(c.fn(inputs).data());
    } else {
      benchmark::DoNotOptimize(grad(y, leaves)[0].data());
    }
  }
  const double products = direction == Direction::forward ? 1.0 : double(leaves.size());
  using benchmark::Counter;
  if (c.flops > 0) state.counters["FLOP/s"] = Counter(c.flops * products, Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  for (const OpCase& c : firn::tests::op_cases()) {
    for (DType type : {DType::f32, DType::bf16}) {
      if (type == DType::bf16 && c.activations.empty()) continue;
      const auto add = [&](const char* name, Direction direction) {
        benchmark::RegisterBenchmark(fmt::format("{}/{}/{}", c.name, name, firn::name_of(type)).c_str(), run_case, c,
                                     type, direction)
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      };
      add("forward", Direction::forward);
      add("backward", Direction::backward);
      if (c.activations.find('w') != std::string::npos) add("backward_frozen", Direction::backward_frozen);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
