// Stands in for libcudart: what nvcc compiled runs on the interpreter, on the host's memory, as late as CUDA allows.
#pragma once
#include <cuda_runtime_api.h>

#include <set>
#include <string>
#include <vector>

#include "tests/ptx/checker.h"

namespace firn::ptx {

struct Kernel {
  std::string name;  // demangled
  Module* module = nullptr;
  const Function* function = nullptr;
};

// The GPU that it stands in for: "sm_90", or what FIRN_PTX_GPU names.
const std::string& gpu();
// All kernels of the program that it has code for.
std::vector<Kernel> kernels();
// The PTX of each source file for an architecture, "sm_80" or "sm_90a".
std::vector<std::string> texts(const std::string& architecture);
// Names of those that ran.
const std::set<std::string>& executed();
// Called before each launch; may change what will run.
void on_launch(std::function<void(const Kernel&)> f);
// Does what is queued, as a wait for the stream does; its failure.
cudaError_t finish();

// What code sees that measures or that must not while a stream is captured: every wait for an event makes the next
// measurement shorter, and `capturing` is what a stream says of itself even when it is not.
struct Events {
  bool capturing = false;
  int waits = 0;
  bool ignored = false;  // a wait ends at once, as if it had been forgotten
};
Events& events();

// What the driver says of itself and of the machine, and how many graphs it refuses to make from now on.
struct Driver {
  int version = CUDART_VERSION;
  cudaError_t devices = cudaSuccess;
  int refused_graphs = 0;
};
Driver& driver();

// What the checker found since the last call. Work with findings fails, and its error is the first of them.
std::vector<std::string> take_findings();

}  // namespace firn::ptx
