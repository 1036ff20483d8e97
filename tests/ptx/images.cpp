#include "tests/ptx/images.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tests/ptx/runtime_state.h"

namespace firn::ptx {
namespace {

std::string demangled(const std::string& name) {
  int status = 0;
  char* s = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = s ? s : name;
  std::free(s);
  return result;
}

Module& module_of(Image& image) {
  const std::string architecture = architecture_of(image);
  std::unique_ptr<Module>& module = image.modules[architecture];
  if (!module) {
    module = parse(image.texts.at(architecture));
    for (auto& [name, variable] : module->variables) runtime().checker.adopt(*variable.bytes);
  }
  return *module;
}

}  // namespace

// A fat binary is a header {u32 magic, u16 version, u16 header bytes, u64 size}, then images
// {u16 kind, u16, u32 header bytes, u64 size}; kind 1 is PTX.
Image image_of(const char* binary) {
  const auto get = []<class T>(const char* p, T) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  Image all;
  const char* image = binary + get(binary + 6, uint16_t{});
  const char* end = image + get(binary + 8, uint64_t{});
  while (image < end) {
    const char* bytes = image + get(image + 4, uint32_t{});
    const uint64_t size = get(image + 8, uint64_t{});
    if (get(image, uint16_t{}) == 1) {
      std::string text(bytes, size);
      const size_t target = text.find(".target ");
      if (target == text.npos) throw Error("compressed PTX: build with nvcc -no-compress");
      const size_t name = target + 8;
      all.texts[text.substr(name, text.find_first_of(" ,\r\n", name) - name)] = text.substr(0, text.find('\0'));
    }
    image = bytes + size;
  }
  if (all.texts.empty()) throw Error("no PTX in a fat binary: build with code=compute_80");
  return all;
}

std::string architecture_of(const Image& image) {
  std::string best;
  for (const auto& [architecture, text] : image.texts)
    if (architecture == gpu() + "a" || architecture <= gpu()) best = architecture;
  return best;
}

Kernel kernel_of(const Symbol& symbol) {
  Module& module = module_of(*symbol.image);
  const auto found = module.functions.find(symbol.name);
  if (found == module.functions.end()) throw Error(fmt::format("PTX: no kernel {}", symbol.name));
  return {demangled(symbol.name), &module, &found->second};
}

}  // namespace firn::ptx
