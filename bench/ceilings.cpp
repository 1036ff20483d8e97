// What a machine can do at most, in two numbers: bytes/s of a large copy (read and written) and FLOP/s of a large
// square matrix product. The product is the engine's own, so the kernels that ran are named beside it: a reference
// kernel there means that the second number is no ceiling. Or what cuDNN plans for a GPU by, to plan on another
// machine.
//   ceilings --device cuda
//   ceilings --device cuda --describe h100.json
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/threads.h"
#include "io/files.h"
#include "kernels/conv/planning.h"
#include "kernels/device/device_info.h"
#include "kernels/device/timer.h"
#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

namespace {

using namespace firn;

void copy([[maybe_unused]] const Stream& stream, void* to, const void* from, size_t bytes) {
#ifdef FIRN_CUDA
  if (stream.is_cuda) return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, current(stream)));
#endif
  std::memcpy(to, from, bytes);
}

// The fastest of several: a ceiling.
template <class F>
double best_ms(const Device& device, int repeats, F&& once) {
  kernels::DeviceTimer timer(device.stream());
  once();
  double best = 1e300;
  for (int i = 0; i < repeats; ++i) {
    timer.start();
    once();
    best = std::min(best, timer.stop());
  }
  return best;
}

std::string description(const Device& device) {
  if (!device.is_cuda())
    throw DeviceError("--describe: there is no GPU to describe; use --device cuda on a machine that has one");
  return kernels::describe_gpu(device.stream());
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  CLI::App app("Bandwidth of a copy and speed of a matrix product, as one line of JSON.");
  std::string device_name = "cpu", type_name = "bf16", describe;
  int64_t size = 8192, megabytes = 1024;
  int repeats = 10;
  app.add_option("--device", device_name, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--type", type_name, "of the product: f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}));
  app.add_option("--size", size, "rows and columns of both matrices")->check(CLI::Range(1, 65536));
  app.add_option("--megabytes", megabytes, "of the copy")->check(CLI::Range(1, 65536));
  app.add_option("--repeats", repeats)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--describe", describe, "measure nothing; write what cuDNN plans for this GPU by into this file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) ? 2 : 0;
  }
  try {
    const Device device = Device::from_name(device_name);
    if (!describe.empty()) {
      write_text(describe, description(device) + "\n");
      return 0;
    }
    const DType type = type_name == "bf16" ? DType::bf16 : DType::f32;
    const auto info = kernels::device_info(device.stream());
    nlohmann::ordered_json row{
        {"device", info.name}, {"architecture", info.architecture}, {"driver", info.driver}, {"runtime", info.runtime}};
    {
      Tensor from = Tensor::zeros({megabytes, 250000}, DType::f32, device), to = from.like();
      const auto bytes = static_cast<size_t>(from.count()) * 4;
      const double ms = best_ms(device, repeats, [&] { copy(device.stream(), to.mutable_data(), from.data(), bytes); });
      row["copy_gbs"] = 2 * double(bytes) / ms / 1e6;
    }
    Rng rng{.seed = 1};
    const Tensor a = cast(randn({size, size}, rng, DType::f32, device), type);
    const Tensor b = cast(randn({size, size}, rng, DType::f32, device), type);
    const LaunchCounter launches;
    const double ms = best_ms(device, repeats, [&] { matmul(a, b, {.trans_b = true}); });
    const auto n = double(size);
    row["matmul"] = fmt::format("{0}x{0}x{0} {1}", size, type_name);
    row["matmul_tflops"] = 2 * n * n * n / ms / 1e9;
    row["matmul_kernels"] = nlohmann::ordered_json::array();  // empty: a library's
    for (const auto& [name, count] : launches.counts()) row["matmul_kernels"].push_back(name);
    fmt::print("{}\n", row.dump());
  } catch (const std::exception& e) {
    fmt::print(stderr, "ceilings: {}\n", e.what());
    return 1;
  }
}
