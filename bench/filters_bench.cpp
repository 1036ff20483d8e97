// Weight gradients with all filters trained, with half and with a quarter of them: each layer's rounds take turns, and
// on a CPU the time is that of the process, so that what else the machine does weighs on all alike. `of_share` is the
// time over that of all filters, by the share that trains: 1 is what the multiplications say.
//   filters_bench --layers 64/16384/16 --out filters.json
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/recorded.h"
#include "engine/random.h"
#include "engine/threads.h"
#include "kernels/device/device_info.h"
#include "kernels/device/timer.h"
#include "kernels/ops/elementwise.h"

using namespace firn;

namespace {

struct Layer {
  std::string name;
  Shape x, w;
  Conv2d p;
};

std::vector<Layer> layers(int resolution, int64_t base, int64_t n) {
  std::vector<Layer> all;
  for (int64_t s = resolution; s >= 8; s /= 2) {
    const int64_t c = std::min<int64_t>(base / s, 512), wide = std::min<int64_t>(base / (s / 2), 512);
    const std::string block = fmt::format("b{}.", s);
    all.push_back({block + "conv0", {n, s, s, c}, {c, 3, 3, c}, {.pad = 1}});
    all.push_back({block + "down", {n, s + 1, s + 1, c}, {wide, 3, 3, c}, {.stride = 2}});
    all.push_back({block + "skip", {n, s / 2, s / 2, c}, {wide, 1, 1, c}, {}});
    all.push_back({block + "up", {n, s / 2, s / 2, wide}, {c, 3, 3, wide}, {.stride = 2, .transposed = true}});
  }
  return all;
}

// Filters spread over the layer, as a quantile has them.
TrainedRowsPtr some_of(int64_t filters, int64_t count, const Device& device) {
  std::vector<int32_t> numbers(static_cast<size_t>(filters));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int32_t>(i);
  std::shuffle(numbers.begin(), numbers.end(), std::minstd_rand(1));
  numbers.resize(static_cast<size_t>(count));
  std::ranges::sort(numbers);
  return std::make_shared<const TrainedRows>(numbers, filters, device);
}

double cpu_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}

nlohmann::json measure(const Layer& layer, DType type, const Device& device, int rounds) {
  Rng rng{.seed = 1};
  const NoGrad no_grad;
  const Tensor x = cast(randn(layer.x, rng, DType::f32, device), type);
  const Shape shape = conv2d(x, Tensor::zeros(layer.w, DType::f32, device), layer.p).shape();
  const Tensor gy = cast(randn(shape, rng, DType::f32, device), type);
  const int64_t filters = layer.w[0];
  const std::vector<TrainedRowsPtr> ways = {nullptr, some_of(filters, filters / 2, device),
                                            some_of(filters, filters / 4, device)};
  std::vector<std::vector<double>> ms(ways.size());
  kernels::DeviceTimer timer(device.stream());
  for (int round = -1; round < rounds; ++round)  // the first one plans
    for (size_t i = 0; i < ways.size(); ++i) {
      const double began = cpu_ms();
      timer.start();
      const Tensor gw = ops::conv2d_weight_grad_of(ways[i], x, gy, layer.w, layer.p);
      const double on_device = timer.stop(), took = device.is_cuda() ? on_device : cpu_ms() - began;
      if (round >= 0) ms[i].push_back(took);
    }
  for (auto& times : ms) std::ranges::sort(times);
  const auto best = [&](size_t i) { return ms[i].front(); };
  return {{"layer", layer.name},
          {"type", name_of(type)},
          {"x", to_string(layer.x)},
          {"w", to_string(layer.w)},
          {"all_ms", best(0)},
          {"half_ms", best(1)},
          {"quarter_ms", best(2)},
          {"half_of_share", best(1) / best(0) * 2},
          {"quarter_of_share", best(2) / best(0) * 4}};
}

}  // namespace

int main(int argc, char** argv) try {
  firn::wait_politely(argv);
  CLI::App app("Weight gradients of layers of which some filters are frozen.");
  std::string device_name = "cpu", out, size = "64/16384/16";
  int rounds = 15, wanted_threads = 1;
  app.add_option("--device", device_name, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--layers", size, "RESOLUTION/CHANNEL_BASE/BATCH of a StyleGAN2")->capture_default_str();
  app.add_option("--rounds", rounds, "of which the fastest counts")->capture_default_str();
  app.add_option("--threads", wanted_threads, "CPU threads: those that wait spend time, too")->capture_default_str();
  app.add_option("--out", out, "a JSON file");
  CLI11_PARSE(app, argc, argv);
  int resolution = 0, base = 0, batch = 0;
  if (std::sscanf(size.c_str(), "%d/%d/%d", &resolution, &base, &batch) != 3)
    throw ConfigError(fmt::format("--layers {}: expected RESOLUTION/CHANNEL_BASE/BATCH, like 64/16384/16", size));
  if (wanted_threads > 0) set_threads(wanted_threads);
  const Device device = Device::from_name(device_name);
  nlohmann::json result = {{"device", kernels::device_info(device.stream()).name},
                           {"threads", threads()},
                           {"rows", nlohmann::json::array()}};
  for (const DType type : {DType::f32, DType::bf16})
    for (const Layer& layer : layers(resolution, base, batch)) {
      if (layer.w[0] < 64) continue;
      result["rows"].push_back(measure(layer, type, device.with({.activations = type}), rounds));
      const auto& row = result["rows"].back();
      fmt::print("{:<10} {:<5} {:>18} {:9.3f} ms  half {:5.2f}  quarter {:5.2f} of the share\n", layer.name,
                 name_of(type), to_string(layer.w), row["all_ms"].get<double>(), row["half_of_share"].get<double>(),
                 row["quarter_of_share"].get<double>());
      std::fflush(stdout);
    }
  if (!out.empty()) std::ofstream(out) << result.dump(1) << "\n";
} catch (const std::exception& e) {
  fmt::print(stderr, "filters_bench: {}\n", e.what());
  return 1;
}
