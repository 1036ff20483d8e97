// The device code that the program was linked with, as nvcc's host code registers it, and which of it a GPU runs.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "tests/ptx/module.h"
#include "tests/ptx/runtime.h"

namespace firn::ptx {

// A file's device code, by the architecture that it is for ("sm_80", "sm_90a"). Registered before main in any order, so
// parsed at first use.
struct Image {
  std::map<std::string, std::string> texts;
  std::map<std::string, std::unique_ptr<Module>> modules;
};
struct Symbol {
  Image* image = nullptr;
  std::string name;
};

// The PTX in a fat binary; throws Error where it is compressed or there is none.
Image image_of(const char* fat_binary);
// Which of an image's texts the GPU runs that is stood in for: its own, or that of an older one; empty if none.
std::string architecture_of(const Image&);
// Throws Error where it is not in the module.
Kernel kernel_of(const Symbol&);

}  // namespace firn::ptx
