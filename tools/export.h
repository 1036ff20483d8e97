// Folders that gan-export writes of a generator.
#pragma once
#include <filesystem>
#include <string>

#include "models/onnx/generator.h"
#include "tools/network.h"

namespace firn::tools {

struct Export {
  std::filesystem::path snapshot;  // the file
  std::string title;
  const LoadedGenerator& loaded;
  onnx::Options options;  // of the ONNX file: the noise, and psi where none is given
};

extern const char* const demo_page;  // export_demo.html, as it was when this was built

// DIR/index.html: the network in a page that runs it, by onnxruntime-web.
void write_demo(const Export& e, const std::filesystem::path& dir);

// What a model hub shows and keeps: README.md, model.safetensors, generator.onnx, samples.png.
void write_card(const Export& e, const std::filesystem::path& dir);

}  // namespace firn::tools
