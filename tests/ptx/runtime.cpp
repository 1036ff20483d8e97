#include "tests/ptx/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "kernels/core/launch_limits.h"
#include "tests/ptx/executor.h"
#include "tests/ptx/runtime_state.h"

namespace firn::ptx {

Runtime& runtime() {
  static Runtime* r = new Runtime;  // outlives static tensors
  return *r;
}

cudaError_t fail(cudaError_t e) { return runtime().error = e; }

void note_finding(const std::string& what) {
  runtime().first_finding = what;
  runtime().findings.push_back(what);
}

// 163 KiB on sm_80, 227 on sm_90, beside one that the system keeps; 48 where nobody asks for more.
size_t most_shared_memory() { return (gpu() < "sm_90" ? 163 : 227) << 10; }
size_t shared_by_default(const Function& f) { return (48 << 10) - f.packed_shared_bytes; }

cudaError_t submit(Work work) {
  if (const cudaError_t status = work.check(); status != cudaSuccess) return fail(status);
  Recording* const capture = runtime().capture.get();
  if (!capture) return runtime().queue.add(std::move(work));
  if (capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
  capture->work.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t unless_captured() {
  if (!runtime().capture) return cudaSuccess;
  runtime().capture->invalid = true;
  return fail(cudaErrorStreamCaptureUnsupported);
}

namespace {

// What does not depend on when it is asked. Registers are given to whole warps.
cudaError_t check_limits(const Function& f, dim3 grid, dim3 block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (static_cast<size_t>(f.launch_bytes) > kMostParameterBytes || (f.most_threads && threads > f.most_threads))
    return cudaErrorInvalidValue;
  if ((threads + 31) / 32 * 32 * f.thread_registers() > kRegisterFile) return cudaErrorLaunchOutOfResources;
  return cudaSuccess;
}

}  // namespace

cudaError_t launch(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared) {
  Runtime& r = runtime();
  const auto found = r.kernels.find(host);
  if (found == r.kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
  if (architecture_of(*found->second.image).empty()) return fail(cudaErrorNoKernelImageForDevice);
  const Kernel kernel = kernel_of(found->second);
  if (const cudaError_t status = check_limits(*kernel.function, grid, block); status != cudaSuccess)
    return fail(status);
  if (r.on_launch) r.on_launch(kernel);
  Launch launch{{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared, {}};
  launch.parameters.resize(static_cast<size_t>(kernel.function->launch_bytes));
  for (size_t i = 0; i < kernel.function->parameter_offsets.size(); ++i)
    std::memcpy(launch.parameters.data() + kernel.function->parameter_offsets[i], arguments[i],
                static_cast<size_t>(kernel.function->parameter_bytes[i]));
  const auto run = [kernel, launch = std::move(launch)] {
    Runtime& r = runtime();
    execute(*kernel.module, *kernel.function, launch, r.checker);
    r.executed.insert(kernel.name);
    const auto findings = r.checker.take_findings();
    if (findings.empty()) return cudaSuccess;
    r.first_finding = findings.front();
    r.findings.insert(r.findings.end(), findings.begin(), findings.end());
    return fail(cudaErrorLaunchFailure);
  };
  const auto check = [host, shared, f = kernel.function] {
    const auto limit = runtime().shared_limits.find(host);
    const size_t most = limit == runtime().shared_limits.end() ? shared_by_default(*f) : limit->second;
    return shared > most ? cudaErrorInvalidValue : cudaSuccess;
  };
  return submit({run, check});
}

const std::string& gpu() {
  static const std::string name = [] {
    const char* given = std::getenv("FIRN_PTX_GPU");
    return std::string(given ? given : "sm_90");
  }();
  return name;
}

std::vector<Kernel> kernels() {
  std::vector<Kernel> all;
  for (const auto& [host, symbol] : runtime().kernels)
    if (!architecture_of(*symbol.image).empty()) all.push_back(kernel_of(symbol));
  std::sort(all.begin(), all.end(), [](const Kernel& a, const Kernel& b) { return a.name < b.name; });
  return all;
}
std::vector<std::string> texts(const std::string& architecture) {
  std::vector<std::string> all;
  for (const Image& image : runtime().images)
    if (const auto text = image.texts.find(architecture); text != image.texts.end()) all.push_back(text->second);
  return all;
}
const std::set<std::string>& executed() { return runtime().executed; }
void on_launch(std::function<void(const Kernel&)> f) { runtime().on_launch = std::move(f); }
cudaError_t finish() { return runtime().queue.finish(); }
Events& events() { return runtime().events; }
Driver& driver() { return runtime().driver; }
std::vector<std::string> take_findings() { return std::exchange(runtime().findings, {}); }

}  // namespace firn::ptx
