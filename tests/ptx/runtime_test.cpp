// That the stand-in for the driver is no kinder than the driver: limits, lateness, capture, and what the engine makes
// of them.
#include "tests/ptx/runtime.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "engine/adam.h"
#include "engine/ops.h"
#include "engine/replay.h"
#include "kernels/core/cuda_check.h"
#include "kernels/core/launch_limits.h"
#include "kernels/device/graph.h"
#include "kernels/device/memory.h"
#include "kernels/device/staging.h"
#include "tests/engine/op_check.h"
#include "tests/io/io_support.h"
#include "tests/ptx/rows.h"

namespace firn::ptx {
namespace {

struct PtxRuntime : testing::Test {
  void TearDown() override {
    events() = {};
    driver() = {};
    finish();
    take_findings();
    cudaGetLastError();
  }
  static cudaError_t launched(const void* kernel, dim3 grid, dim3 block, size_t shared = 0) {
    const cudaError_t status = cudaLaunchKernel(kernel, grid, block, nullptr, shared, stream());
    cudaGetLastError();
    return status == cudaSuccess ? cudaStreamSynchronize(stream()) : status;
  }
  static cudaStream_t stream() { return static_cast<cudaStream_t>(kernels::cuda_stream(0).cuda); }
  static cudaError_t limit(const void* kernel, int bytes) {
    const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    cudaGetLastError();
    return status;
  }
  static constexpr int kMost = 227 << 10, kStatic = 1024;
};

TEST_F(PtxRuntime, LaunchesKeepToTheLimits) {
  const void *const bounded = kernel_of_64_threads(), *const any = kernel_of_any_threads();
  EXPECT_EQ(launched(bounded, 1, 64), cudaSuccess);
  EXPECT_EQ(launched(bounded, 1, 65), cudaErrorInvalidValue) << "more threads than its launch bounds";
  EXPECT_EQ(launched(any, 1, 256), cudaSuccess);
  EXPECT_EQ(launched(any, 1, 257), cudaErrorLaunchOutOfResources) << "as many registers as a thread can have";
  EXPECT_EQ(launched(any, 1, 1025), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launched(any, 1, dim3(1, 1, 65)), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launched(any, 1u << 31, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launched(any, dim3(1, 65536), 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launched(any, 0, 1), cudaErrorInvalidConfiguration);
  for (const Kernel& k : kernels())
    if (k.name.find("without_bounds") != k.name.npos) {
      Function& f = k.module->functions.at(k.function->name);
      f.launch_bytes = static_cast<int>(kMostParameterBytes) + 1;
      EXPECT_EQ(launched(any, 1, 1), cudaErrorInvalidValue) << "more parameters than a launch carries";
      f.launch_bytes = 0;
    }
  EXPECT_EQ(grid_of("a kernel", INT32_MAX), unsigned{INT32_MAX});
  EXPECT_MENTIONS(message_of<DeviceError>([] { grid_of("a kernel", int64_t{1} << 31); }),
                  "a kernel: 2147483648 blocks");
}

TEST_F(PtxRuntime, SharedMemoryIsLimitedByTheKernelAndTheDevice) {
  const void* const kernel = kernel_of_64_threads();
  ASSERT_EQ(limit(kernel, (48 << 10) - kStatic), cudaSuccess);
  EXPECT_EQ(launched(kernel, 1, 64, (48 << 10) - kStatic), cudaSuccess);
  EXPECT_EQ(launched(kernel, 1, 64, (48 << 10) - kStatic + 1), cudaErrorInvalidValue);
  EXPECT_EQ(limit(kernel, kMost - kStatic + 1), cudaErrorInvalidValue) << "static and dynamic";
  EXPECT_EQ(limit(kernel, kMost - kStatic), cudaSuccess);
  EXPECT_EQ(launched(kernel, 1, 64, kMost - kStatic), cudaSuccess);
}

TEST_F(PtxRuntime, AGraphHasNoNodeAboveTheLastLimit) {
  const void* const kernel = kernel_of_64_threads();
  const auto record = [&](auto then) {
    ASSERT_EQ(limit(kernel, 100'000), cudaSuccess);
    cudaGraph_t graph;
    ASSERT_EQ(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
    ASSERT_EQ(cudaLaunchKernel(kernel, 1, 64, nullptr, 90'000, stream()), cudaSuccess);
    ASSERT_EQ(cudaStreamEndCapture(stream(), &graph), cudaSuccess);
    then(graph);
    cudaGraphDestroy(graph);
  };
  cudaGraphExec_t executable;
  record([&](cudaGraph_t graph) {
    limit(kernel, 60'000);
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaErrorInvalidValue);
    limit(kernel, 90'000);
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  });
  EXPECT_EQ(cudaGraphLaunch(executable, stream()), cudaSuccess);
  limit(kernel, 80'000);
  EXPECT_EQ(cudaGraphLaunch(executable, stream()), cudaErrorInvalidValue);
  cudaGraphExecDestroy(executable);
}

TEST_F(PtxRuntime, AKernelMayHaveAllSharedMemoryFromItsFirstLaunchOn) {
  const void* const kernel = kernel_of_64_threads();
  limit(kernel, 0);
  allow_shared_memory(kernels::cuda_stream(0), kernel, "a kernel", 100);
  EXPECT_EQ(launched(kernel, 1, 64, kMost - kStatic), cudaSuccess);
  EXPECT_EQ(message_of<DeviceError>([&] { allow_shared_memory(kernels::cuda_stream(0), kernel, "a kernel", kMost); }),
            "a kernel: a block needs 232448 bytes of shared memory, and this GPU gives one at most 231424");
}

// The second layer's launch must leave the first one's limit as it is.
TEST_F(PtxRuntime, LayersOfSeveralSizesAreRecordedTogether) {
  const tests::WithoutLibraries scope;
  const Device device = Device::cuda();
  const auto full = [&](Shape shape, DType type, double value) { return Tensor::full(shape, value, type, device); };
  const Tensor large = full({2, 4, 4, 256}, DType::bf16, 1), small = full({2, 4, 4, 64}, DType::bf16, 1);
  const Tensor of_large = full({8, 1, 1, 256}, DType::f32, 0.5), of_small = full({8, 1, 1, 64}, DType::f32, 0.5);
  const Tensor scale_large = full({2, 256}, DType::f32, 2), scale_small = full({2, 64}, DType::f32, 2);
  Tensor y = full({2, 4, 4, 8}, DType::bf16, 0), z = y.like();
  Replay replay(device, std::make_shared<Arena>());
  Rng rng;
  for (int run = 0; run < 4; ++run)
    replay.run(rng, [&](Rng&) {
      y.copy_from(styled_conv2d(large, scale_large, of_large, {}, {}, linear()));
      z.copy_from(styled_conv2d(small, scale_small, of_small, {}, {}, linear()));
    });
  EXPECT_TRUE(replay.recorded());
  EXPECT_EQ(y.to_floats().at(7), 256);
  EXPECT_EQ(z.to_floats().at(7), 64);
}

// Memory of the host that the device may read at any time until it is waited for.
TEST_F(PtxRuntime, WorkIsAsLateAsCudaAllows) {
  const Stream s = kernels::cuda_stream(0);
  int *locked, paged = 1, back = 0;
  ASSERT_EQ(cudaMallocHost(reinterpret_cast<void**>(&locked), sizeof(int)), cudaSuccess);
  int* const memory = static_cast<int*>(kernels::allocate(s, sizeof(int)));
  cudaEvent_t copied;
  ASSERT_EQ(cudaEventCreate(&copied), cudaSuccess);
  const auto copy = [&](const int* from) {
    ASSERT_EQ(cudaMemcpyAsync(memory, from, sizeof(int), cudaMemcpyHostToDevice, stream()), cudaSuccess);
    ASSERT_EQ(cudaEventRecord(copied, stream()), cudaSuccess);
  };
  const auto on_device = [&] { return kernels::copy_to_host(s, &back, memory, sizeof back), back; };
  *locked = 1;
  copy(locked);
  float ms;
  EXPECT_EQ(cudaEventElapsedTime(&ms, copied, copied), cudaErrorNotReady);
  *locked = 2;
  EXPECT_EQ(on_device(), 2) << "overwritten before it was read";
  copy(locked);
  EXPECT_EQ(cudaEventSynchronize(copied), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, copied, copied), cudaSuccess);
  *locked = 3;
  EXPECT_EQ(on_device(), 2);
  copy(&paged);
  paged = 4;
  EXPECT_EQ(on_device(), 1) << "what is not page-locked is read at once";
  copy(locked);
  EXPECT_EQ(cudaFreeHost(locked), cudaErrorLaunchFailure);
  EXPECT_MENTIONS(take_findings().at(0), "page-locked memory is freed that a queued copy uses");
  EXPECT_EQ(cudaFreeHost(locked), cudaSuccess);
  cudaEventDestroy(copied);
  copy(&paged);  // before the memory is given back, in the order of the stream, and after it
  kernels::release(s, memory, sizeof(int));
  EXPECT_EQ(cudaStreamSynchronize(stream()), cudaSuccess);
  cudaMemcpyAsync(memory, &paged, sizeof(int), cudaMemcpyHostToDevice, stream());
  EXPECT_EQ(cudaStreamSynchronize(stream()), cudaErrorLaunchFailure);
  EXPECT_MENTIONS(take_findings().at(0), "a copy outside every allocation");
}

// Without its waits for events, a buffer is filled again before the device has read it.
TEST_F(PtxRuntime, StagingWaitsForItsBuffers) {
  const Stream s = kernels::cuda_stream(0);
  const auto arrived = [&] {
    kernels::Staging staging(s, sizeof(int));
    std::array<int, 8> values{};
    int* const memory = static_cast<int*>(kernels::allocate(s, sizeof values));
    for (int i = 0; i < 8; ++i) {
      const void* const there = staging.put(std::as_bytes(std::span(&i, 1)));
      check(cudaMemcpyAsync(memory + i, there, sizeof(int), cudaMemcpyDeviceToDevice, stream()));
    }
    kernels::copy_to_host(s, values.data(), memory, sizeof values);
    kernels::release(s, memory, sizeof values);
    return values;
  };
  const std::array expected{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(arrived(), expected);
  events().ignored = true;
  EXPECT_NE(arrived(), expected);
}

TEST_F(PtxRuntime, WhatIsNotAllowedWhileCapturedSpoilsTheCapture) {
  const void* const kernel = kernel_of_any_threads();
  void *p, *locked;
  cudaEvent_t event;
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&locked, 4), cudaSuccess);
  const std::pair<const char*, std::function<cudaError_t()>> calls[] = {
      {"cudaMallocAsync", [&] { return cudaMallocAsync(&p, 4, stream()); }},
      {"cudaMallocHost", [&] { return cudaMallocHost(&p, 4); }},
      {"cudaFreeHost", [&] { return cudaFreeHost(locked); }},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream()); }},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(event); }},
      {"cudaMemcpyAsync of the host's own memory",
       [&] { return cudaMemcpyAsync(&p, &locked, 4, cudaMemcpyDeviceToHost, stream()); }},
      {"cudaMemPoolTrimTo", [&] { return cudaMemPoolTrimTo(nullptr, 0); }}};
  for (const auto& [name, call] : calls) {
    cudaGraph_t graph;
    ASSERT_EQ(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event, stream()), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name;
    EXPECT_EQ(cudaLaunchKernel(kernel, 1, 1, nullptr, 0, stream()), cudaErrorStreamCaptureInvalidated) << name;
    EXPECT_EQ(cudaStreamEndCapture(stream(), &graph), cudaErrorStreamCaptureInvalidated) << name;
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(launched(kernel, 1, 1), cudaSuccess) << "and is over";
    EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  }
  cudaEventDestroy(event);
  cudaFreeHost(locked);
}

// Where CUDA makes no graph, a phase does the same without one.
TEST_F(PtxRuntime, TrainingGoesOnWithoutAGraph) {
  const Device device = Device::cuda();
  const auto trained = [&](const std::function<void()>& last) {
    Parameters parameters;
    parameters.add(Parameter("w", Tensor::full({8, 1, 1, 32}, 0.25, DType::f32, device)));
    const Tensor x = Tensor::full({1, 4, 4, 32}, 1, DType::bf16, device);
    Adam adam(parameters, {.lr = 0.25});
    Tensor y = Tensor::zeros({1, 4, 4, 8}, DType::bf16, device);
    Replay replay(device, std::make_shared<Arena>());
    Rng rng{.seed = 2};
    testing::internal::CaptureStderr();
    for (int run = 0; run < 6; ++run) {
      adam.advance();
      replay.run(rng, [&](Rng& draws) {
        y.copy_from(styled_conv2d(x, {}, parameters[0](), {}, {}, linear()) +
                    cast(randn({1, 4, 4, 8}, draws, DType::f32, device), DType::bf16));
        adam.apply({Tensor::full({8, 1, 1, 32}, 1, DType::f32, device)});
        last();
      });
    }
    EXPECT_TRUE(replay.settled());
    return std::tuple(y.to_floats(), rng.offset, replay.recorded(), testing::internal::GetCapturedStderr());
  };
  const auto [y, offset, recorded, nothing] = trained([] {});
  EXPECT_TRUE(recorded);
  EXPECT_EQ(nothing, "");
  driver().refused_graphs = 1;
  EXPECT_EQ(trained([] {}), std::tuple(y, offset, false,
                                       "warning: CUDA makes no graph: out of memory; a phase of training runs without "
                                       "one, which is slower\n"));
  const auto [same, also, graph, why] = trained([] { cudaStreamSynchronize(stream()), cudaGetLastError(); });
  EXPECT_EQ(std::tuple(same, also, graph), std::tuple(y, offset, false));
  EXPECT_MENTIONS(why, "previous error during capture");
}

TEST_F(PtxRuntime, NothingOf0BytesIsAskedOfTheDriver) {
  const Device device = Device::cuda();
  void* p;
  EXPECT_EQ(cudaMallocAsync(&p, 0, stream()), cudaErrorInvalidValue);
  cudaGetLastError();
  EXPECT_EQ(kernels::allocate(device.stream(), 0), nullptr);
  EXPECT_EQ(Tensor::zeros({0, 3}, DType::f32, device).to_floats(), std::vector<float>{});
  EXPECT_EQ(Tensor::from(std::vector<float>{}, {3, 0}, DType::f32, device).count(), 0);
  EXPECT_NO_THROW(kernels::Staging(device.stream(), 0).put({}));
}

TEST_F(PtxRuntime, AnOldDriverIsToldApartFromNoGpu) {
  const auto says = [](int version, cudaError_t devices) {
    driver() = {.version = version, .devices = devices};
    testing::internal::CaptureStderr();
    const bool cpu = Device::from_name("auto") == Device::cpu();
    const std::string warning = testing::internal::GetCapturedStderr();
    EXPECT_EQ(cpu, devices != cudaSuccess);
    return std::pair(message_of<DeviceError>([] { Device::from_name("cuda"); }), warning);
  };
  const std::string needed = fmt::format("{}.0", CUDART_VERSION / 1000);
  const auto [error, warning] = says(11040, cudaErrorInsufficientDriver);
  EXPECT_EQ(error, "the GPU's driver is of CUDA 11.4 and this build needs one of " + needed +
                       " or later; update it, or use --device cpu");
  EXPECT_EQ(warning, "warning: the GPU's driver is of CUDA 11.4 and this build needs one of " + needed +
                         " or later; update it; until then the CPU does the work\n");
  for (const auto& [version, devices] :
       {std::pair{CUDART_VERSION, cudaErrorNoDevice}, {0, cudaErrorInsufficientDriver}})
    EXPECT_EQ(says(version, devices),
              std::pair(std::string("this machine has no usable GPU; use --device cpu"), std::string()))
        << "not a word where there is none";
  EXPECT_MENTIONS(says(CUDART_VERSION, cudaErrorInitializationError).first, "the GPU cannot be used: CUDA: ");
  EXPECT_EQ(says(CUDART_VERSION, cudaSuccess), std::pair(std::string("no error"), std::string()));
}

}  // namespace
}  // namespace firn::ptx
