// Writes uncompressed zips: any, or a data set in NVIDIA's dataset_tool layout. Nothing appears under the final name
// until finish() has synced it; a writer that is dropped before leaves no file behind.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/images.h"

namespace firn {

class ZipFile {
 public:
  explicit ZipFile(std::filesystem::path path);
  ~ZipFile();

  void add(std::string name, std::string_view bytes);  // IoError for 4 GB and more
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class ZipWriter {
 public:
  explicit ZipWriter(std::filesystem::path path);
  ~ZipWriter();

  void add(const Image& image, int label = -1);                   // 00000/img00000000.png, ...
  void add(const Image& image, std::string_view label_json);      // any label; empty: none
  void finish(const std::vector<std::string>& class_names = {});  // dataset.json, then sync and rename

 private:
  ZipFile file_;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace firn
