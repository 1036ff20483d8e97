// Google Benchmark over the table of ops that the tests use, at the shapes of real layers: forward and backward, and as
// freeze/... a layer's backward with its weights trained and with them frozen. A GPU is timed by its own events with a
// cold L2, and by medians; given ceilings, a row says which share of its time the floor max(FLOP, bytes) explains.
//   op_bench --benchmark_filter='conv2d_k3/.*bf16' --device cuda --ceiling-tflops 700 --ceiling-gbs 2900
#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "bench/layer_cases.h"
#include "engine/threads.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/device/device_info.h"
#include "kernels/device/timer.h"
#include "kernels/ops/elementwise.h"
#include "tests/engine/op_cases.h"
#include "tools/own_kernels.h"

namespace {

using namespace firn;
using firn::tests::OpCase;

struct Settings {
  Device device = Device::cpu();
  double tflops = 0, gbs = 0;  // what the machine can do; 0: unknown
};

enum class Direction { forward, backward, backward_frozen };

std::vector<Tensor> inputs_of(const OpCase& c, DType type, Direction direction, const Device& device) {
  Rng rng{.seed = 1};
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.bench_shapes.size(); ++i) {
    const bool weight = !c.activations.empty() && c.activations[i] == 'w';
    Tensor t = cast(randn(c.bench_shapes[i], rng, DType::f32, device), weight ? DType::f32 : type);
    if (c.domain) t = cast(affine(square(cast(t, DType::f32)), 1, 0.5), t.type());
    const bool frozen = direction == Direction::backward_frozen && weight;
    inputs.push_back(direction == Direction::forward || frozen ? t : t.require_grad());
  }
  return inputs;
}

double bytes_of(const Tensor& t) { return double(t.count()) * double(size_of(t.type())); }

// The least that must be multiplied and moved. A product's gradient for one operand reads all the others; that of any
// other op is counted as if it read nothing but gy.
struct Work {
  double flops = 0, bytes = 0;

  Work(const OpCase& c, const std::vector<Tensor>& inputs, const Tensor& y, Direction direction) : bytes(bytes_of(y)) {
    const bool forward = direction == Direction::forward;
    const auto wanted = [](const Tensor& t) { return t.wants_grad(); };
    const auto leaves = std::ranges::count_if(inputs, wanted);
    flops = c.flops * (forward ? 1.0 : double(std::min<int64_t>(leaves, 2)));  // a product has two operands
    for (const Tensor& t : inputs) {
      const bool read = forward || (c.flops > 0 && leaves > (wanted(t) ? 1 : 0));
      bytes += bytes_of(t) * double(read + wanted(t));
    }
  }

  double floor_s(const Settings& s) const {
    return std::max(s.tflops > 0 ? flops / (s.tflops * 1e12) : 0, s.gbs > 0 ? bytes / (s.gbs * 1e9) : 0);
  }
};

// Median milliseconds of `once`, each time after the L2 was filled with something else. Queued behind that write, the
// few launches of a small op cost nothing here.
template <class F>
double median_ms(benchmark::State& state, const Device& device, F&& once) {
  const auto l2 = static_cast<int64_t>(kernels::device_info(device.stream()).l2_bytes);
  Tensor other = Tensor::empty({std::max<int64_t>(2 * l2, 1 << 20) / 4}, DType::f32, device);
  kernels::DeviceTimer timer(device.stream());
  std::vector<double> ms;
  for (auto _ : state) {
    run(device.stream(), kernels::Fill<float>{other.mutable_as<float>(), other.count(), 1});
    timer.start();
    once();
    ms.push_back(timer.stop());
    state.SetIterationTime(ms.back() / 1e3);
  }
  std::nth_element(ms.begin(), ms.begin() + ms.size() / 2, ms.end());
  return ms[ms.size() / 2];
}

void run_case(benchmark::State& state, const OpCase& c, DType type, Direction direction, const Settings& settings) {
  const std::vector<Tensor> inputs = inputs_of(c, type, direction, settings.device.with({.activations = type}));
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs)
    if (t.wants_grad()) leaves.push_back(t);
  const Tensor y = c.fn(inputs);
  const auto once = [&] {
    const Tensor result = direction == Direction::forward ? c.fn(inputs) : grad(y, leaves)[0];
    benchmark::DoNotOptimize(result.data());
  };

  once();  // plans and memory
  using benchmark::Counter;
  const Work work(c, inputs, y, direction);
  double seconds = 1;  // on the CPU benchmark::Counter divides by its own
  auto rate = Counter::kIsIterationInvariantRate;
  if (settings.device.is_cuda()) {
    const double ms = median_ms(state, settings.device, once);
    state.counters["median_us"] = ms * 1e3;
    seconds = ms / 1e3;
    rate = Counter::kDefaults;
  } else {
    for (auto _ : state) once();
  }
  if (work.flops > 0) state.counters["FLOP/s"] = Counter(work.flops / seconds, rate);
  state.counters["bytes/s"] = Counter(work.bytes / seconds, rate);
  if (const double floor = work.floor_s(settings); floor > 0)
    state.counters["floor_%"] = Counter(100 * floor / seconds, rate);
}

void add(const std::string& name, const OpCase& c, DType type, Direction direction, const Settings& settings) {
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    try {
      run_case(state, c, type, direction, settings);
    } catch (const std::exception& e) {
      state.SkipWithError(e.what());
    }
  });
  registered->Unit(benchmark::kMillisecond);
  settings.device.is_cuda() ? registered->UseManualTime() : registered->UseRealTime();
}

void add_all(const std::vector<OpCase>& cases, const Settings& settings) {
  const auto each = [&](auto&& f) {
    for (const OpCase& c : cases)
      for (DType type : {DType::f32, DType::bf16})
        if (type == DType::f32 || !c.activations.empty()) f(c, type);
  };
  each([&](const OpCase& c, DType type) {
    add(fmt::format("{}/forward/{}", c.name, name_of(type)), c, type, Direction::forward, settings);
    add(fmt::format("{}/backward/{}", c.name, name_of(type)), c, type, Direction::backward, settings);
  });
  each([&](const OpCase& c, DType type) {
    if (c.activations.find('w') == std::string::npos) return;
    const std::string layer = fmt::format("freeze/{}/{}/", c.name, name_of(type));
    add(layer + "frozen", c, type, Direction::backward_frozen, settings);
    add(layer + "trained", c, type, Direction::backward, settings);
  });
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  CLI::App app("Speed of ops, forward and backward. Options that begin with --benchmark_ are Google Benchmark's.");
  Settings settings;
  std::string device = "cpu", layers;
  app.add_option("--device", device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--ceiling-tflops", settings.tflops, "bench/ceilings measures it");
  app.add_option("--ceiling-gbs", settings.gbs, "likewise, GB/s");
  app.add_option("--layers", layers, "adds layer/...: the layers of a StyleGAN2, RESOLUTION/CHANNEL_BASE/BATCH");
  firn::tools::add_no_own_kernels(app);
  app.allow_extras();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) ? 2 : 0;
  }
  std::vector<std::string> rest = app.remaining();
  rest.insert(rest.begin(), argv[0]);
  std::vector<char*> arguments;
  for (std::string& s : rest) arguments.push_back(s.data());
  arguments.push_back(nullptr);
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  try {
    settings.device = firn::Device::from_name(device);
    const auto info = firn::kernels::device_info(settings.device.stream());
    benchmark::AddCustomContext("device", info.name);
    if (!info.driver.empty())
      benchmark::AddCustomContext("cuda", "driver " + info.driver + ", runtime " + info.runtime);
    add_all(firn::tests::op_cases(), settings);
    if (!layers.empty()) add_all(firn::layer_cases(layers), settings);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    fmt::print(stderr, "op_bench: {}\n", e.what());
    return 1;
  }
}
