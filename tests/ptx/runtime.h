// Stands in for libcudart: what nvcc compiled runs on the interpreter, on the host's memory, one launch after another.
#pragma once
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

// All kernels that the program was linked with.
std::vector<Kernel> kernels();
// The PTX of each source file.
std::vector<std::string> texts();
// Names of those that ran.
const std::set<std::string>& executed();
// Called before each launch; may change what will run.
void on_launch(std::function<void(const Kernel&)> f);
// What code sees that measures or that must not while a stream is captured: every wait for an event makes the next
// measurement shorter, and `capturing` is what a stream says of itself even when it is not.
struct Events {
  bool capturing = false;
  int waits = 0;
};
Events& events();
// What the checker found since the last call. A launch with findings fails, and its error is the first of them.
std::vector<std::string> take_findings();

}  // namespace firn::ptx
