#include "tests/ptx/runtime.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "kernels/error.h"
#include "tests/ptx/executor.h"

namespace firn::ptx {
namespace {

// A file's device code. Registered before main in any order, so parsed at first use.
struct Image {
  std::string text;
  std::unique_ptr<Module> module;
};
struct Symbol {
  Image* image = nullptr;
  std::string name;
};
struct Configuration {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};

// What a stream holds while it is captured, and then a graph: launches and copies as calls.
using Work = std::vector<std::function<cudaError_t()>>;

struct Runtime {
  Checker checker;
  std::unique_ptr<Work> capture;  // of the one stream
  Events events;
  std::deque<Image> images;
  std::map<const void*, Symbol> kernels, variables;
  std::map<const void*, size_t> shared_limits;
  std::vector<Configuration> configurations;
  std::set<std::string> executed;
  std::function<void(const Kernel&)> on_launch;
  std::vector<std::string> findings;
  std::string first_finding;
  cudaError_t error = cudaSuccess;
};

Runtime& runtime() {
  static Runtime* r = new Runtime;  // outlives static tensors
  return *r;
}

cudaError_t fail(cudaError_t e) { return runtime().error = e; }

Module& module_of(Image& image) {
  if (!image.module) {
    image.module = parse(image.text);
    for (auto& [name, variable] : image.module->variables) runtime().checker.adopt(*variable.bytes);
  }
  return *image.module;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* s = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = s ? s : name;
  std::free(s);
  return result;
}

Kernel kernel_of(const Symbol& symbol) {
  Module& module = module_of(*symbol.image);
  const auto found = module.functions.find(symbol.name);
  if (found == module.functions.end()) throw Error(fmt::format("PTX: no kernel {}", symbol.name));
  return {demangled(symbol.name), &module, &found->second};
}

// A fat binary is a header {u32 magic, u16 version, u16 header bytes, u64 size}, then images
// {u16 kind, u16, u32 header bytes, u64 size}; kind 1 is PTX.
std::string ptx_of(const char* binary) {
  const auto get = []<class T>(const char* p, T) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  const char* image = binary + get(binary + 6, uint16_t{});
  const char* end = image + get(binary + 8, uint64_t{});
  while (image < end) {
    const char* bytes = image + get(image + 4, uint32_t{});
    const uint64_t size = get(image + 8, uint64_t{});
    if (get(image, uint16_t{}) == 1) {
      std::string text(bytes, size);
      if (text.find(".version") == text.npos) throw Error("compressed PTX: build with nvcc -no-compress");
      return text.substr(0, text.find('\0'));
    }
    image = bytes + size;
  }
  throw Error("no PTX in a fat binary: build with code=compute_80");
}

// Does `work` now, or notes it for the graph that is being captured.
cudaError_t submit(std::function<cudaError_t()> work) {
  if (Work* capture = runtime().capture.get()) {
    capture->push_back(std::move(work));
    return cudaSuccess;
  }
  return work();
}

// What a graph cannot hold: allocations, and waiting for the device.
cudaError_t unless_captured(cudaError_t status = cudaSuccess) {
  return runtime().capture ? fail(cudaErrorStreamCaptureUnsupported) : status;
}

cudaError_t launch(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared) {
  Runtime& r = runtime();
  const auto found = r.kernels.find(host);
  if (found == r.kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
  constexpr size_t kSharedByDefault = 48 << 10;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
      shared > std::max(kSharedByDefault, r.shared_limits[host]))
    return fail(cudaErrorInvalidConfiguration);
  const Kernel kernel = kernel_of(found->second);
  if (r.on_launch) r.on_launch(kernel);
  Launch launch{{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared, {}};
  launch.parameters.resize(static_cast<size_t>(kernel.function->launch_bytes));
  for (size_t i = 0; i < kernel.function->parameter_offsets.size(); ++i)
    std::memcpy(launch.parameters.data() + kernel.function->parameter_offsets[i], arguments[i],
                static_cast<size_t>(kernel.function->parameter_bytes[i]));
  return submit([kernel, launch = std::move(launch)] {
    Runtime& r = runtime();
    execute(*kernel.module, *kernel.function, launch, r.checker);
    r.executed.insert(kernel.name);
    const auto findings = r.checker.take_findings();
    if (findings.empty()) return cudaSuccess;
    r.first_finding = findings.front();
    r.findings.insert(r.findings.end(), findings.begin(), findings.end());
    return fail(cudaErrorLaunchFailure);
  });
}

// Tensors of bf16 in a 128-byte swizzle, with what the driver checks of such.
CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps,
                      CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                      CUtensorMapFloatOOBfill fill) {
  if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      swizzle != CU_TENSOR_MAP_SWIZZLE_128B || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    return CUDA_ERROR_NOT_SUPPORTED;
  TensorMapFields m;
  bool valid = rank >= 1 && rank <= 5 && reinterpret_cast<uintptr_t>(map) % 64 == 0 &&
               reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (size_t i = 0; valid && i < rank; ++i) {
    m.size[i] = static_cast<uint32_t>(sizes[i]);
    m.stride[i] = i == 0 ? sizeof(uint16_t) : strides[i - 1];
    m.box[i] = box[i];
    valid = sizes[i] >= 1 && sizes[i] < uint64_t{1} << 32 && box[i] >= 1 && box[i] <= 256 && steps[i] == 1 &&
            (i == 0 || (m.stride[i] % 16 == 0 && m.stride[i] < uint64_t{1} << 40));
  }
  const size_t row_bytes = m.box[0] * sizeof(uint16_t);
  if (!valid || row_bytes % 16 || row_bytes > 128) return CUDA_ERROR_INVALID_VALUE;
  m.rank = static_cast<uint16_t>(rank);
  m.element_bytes = sizeof(uint16_t);
  m.address = reinterpret_cast<uint64_t>(data);
  *map = {};
  std::memcpy(map, &m, sizeof m);
  return CUDA_SUCCESS;
}

// An interpreter's exceptions end here: the code that called is C.
template <class F>
cudaError_t guarded(F&& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    runtime().first_finding = e.what();
    runtime().findings.push_back(e.what());
    return fail(cudaErrorLaunchFailure);
  }
}

}  // namespace

std::vector<Kernel> kernels() {
  std::vector<Kernel> all;
  for (const auto& [host, symbol] : runtime().kernels) all.push_back(kernel_of(symbol));
  std::sort(all.begin(), all.end(), [](const Kernel& a, const Kernel& b) { return a.name < b.name; });
  return all;
}
std::vector<std::string> texts() {
  std::vector<std::string> all;
  for (const Image& image : runtime().images) all.push_back(image.text);
  return all;
}
const std::set<std::string>& executed() { return runtime().executed; }
void on_launch(std::function<void(const Kernel&)> f) { runtime().on_launch = std::move(f); }
Events& events() { return runtime().events; }
std::vector<std::string> take_findings() { return std::exchange(runtime().findings, {}); }

}  // namespace firn::ptx

using firn::ptx::Access;
using firn::ptx::fail;
using firn::ptx::guarded;
using firn::ptx::runtime;
using firn::ptx::unless_captured;

// What nvcc's host code calls before main and around a launch.
extern "C" {
void** __cudaRegisterFatBinary(void* wrapper) {
  const char* binary;
  std::memcpy(&binary, static_cast<char*>(wrapper) + 8, sizeof binary);
  try {
    runtime().images.push_back({firn::ptx::ptx_of(binary), nullptr});
  } catch (const firn::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::exit(1);
  }
  return reinterpret_cast<void**>(&runtime().images.back());
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** image, const char* host, char*, const char* name, int, void*, void*, void*, void*,
                            int*) {
  runtime().kernels[host] = {reinterpret_cast<firn::ptx::Image*>(image), name};
}
void __cudaRegisterVar(void** image, char* host, char*, const char* name, int, size_t, int, int) {
  runtime().variables[host] = {reinterpret_cast<firn::ptx::Image*>(image), name};
}
char __cudaInitModule(void**) { return 0; }
cudaError_t __cudaGetKernel(const void** kernel, const void* host) {
  *kernel = host;
  return cudaSuccess;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  runtime().configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const auto c = runtime().configurations.back();
  runtime().configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t) {
  return guarded([&] { return firn::ptx::launch(host, grid, block, arguments, shared); });
}

// The part of CUDA's interface that the project calls.
cudaError_t cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t s) {
  return __cudaLaunchKernel(host, grid, block, arguments, shared, s);
}
cudaError_t cudaGetLastError() { return std::exchange(runtime().error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorLaunchFailure              ? runtime().first_finding.c_str()
         : e == cudaErrorStreamCaptureUnsupported ? "operation not permitted when stream is capturing"
         : e                                      ? "invalid launch or argument"
                                                  : "no error";
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "an interpreter");
  properties->major = 9;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrComputeCapabilityMajor && attribute != cudaDevAttrComputeCapabilityMinor)
    return fail(cudaErrorInvalidValue);
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9 : 0;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** entry, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  const bool known = std::string_view(symbol) == "cuTensorMapEncodeTiled";
  *entry = known ? reinterpret_cast<void*>(PFN_cuTensorMapEncodeTiled_v12000{firn::ptx::encode_tiled}) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static int only;
  *stream = reinterpret_cast<cudaStream_t>(&only);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return unless_captured(); }

// Graphs: what was captured is done again by each launch.
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  runtime().capture = std::make_unique<firn::ptx::Work>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(runtime().capture.release());
  return *graph ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new firn::ptx::Work(*reinterpret_cast<firn::ptx::Work*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  return guarded([&] {
    for (const auto& work : *reinterpret_cast<firn::ptx::Work*>(executable))
      if (const cudaError_t status = work(); status != cudaSuccess) return status;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<firn::ptx::Work*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return cudaGraphDestroy(reinterpret_cast<cudaGraph_t>(executable));
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  const bool capturing = runtime().capture || runtime().events.capturing;
  *status = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

// Events: everything is done at once, so one only has to exist.
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<char*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  ++runtime().events.waits;
  return unless_captured();
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
  *ms = 1e3f / static_cast<float>(std::max(1, runtime().events.waits));
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* f, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) runtime().shared_limits[f] = static_cast<size_t>(value);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  *p = runtime().checker.allocate(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  return guarded([&] {
    runtime().checker.release(p);
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return guarded([&] {
    return firn::ptx::submit([=] {
      std::byte* const first = static_cast<std::byte*>(to);  // its ends: what is set is not read in this project
      runtime().checker.host_access(first, 1, Access::write);
      runtime().checker.host_access(first + bytes - 1, 1, Access::write);
      std::memset(to, value, bytes);
      return cudaSuccess;
    });
  });
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{1} << 30;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return unless_captured(); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return guarded([&] {
    return firn::ptx::submit([=] {
      if (kind != cudaMemcpyDeviceToHost) runtime().checker.host_access(to, bytes, Access::write);
      if (kind != cudaMemcpyHostToDevice) runtime().checker.host_access(from, bytes, Access::read);
      std::memcpy(to, from, bytes);
      return cudaSuccess;
    });
  });
}
}
