// Writes a data set as an uncompressed zip in NVIDIA's dataset_tool layout. Nothing appears under the final name until
// finish() has synced it; a writer that is dropped before leaves no file behind.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/images.h"

namespace firn {

class ZipWriter {
 public:
  explicit ZipWriter(std::filesystem::path path);
  ~ZipWriter();

  void add(const Image& image, int label = -1);                   // 00000/img00000000.png, ...
  void add(const Image& image, std::string_view label_json);      // any label; empty: none
  void finish(const std::vector<std::string>& class_names = {});  // dataset.json, then sync and rename

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace firn
