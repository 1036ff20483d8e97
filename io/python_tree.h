// What a pickle's tree holds, by name: tensors of PyTorch and NumPy, and the plain values beside them. It knows how
// modules, the persistent objects of NVIDIA's code and TensorFlow networks keep theirs; every shape is held against its
// storage.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "io/pickle.h"

namespace firn {

struct PythonStorage {
  std::string_view dtype;  // as in safetensors
  int64_t size = 0;        // of an element, in bytes
  int64_t count = 0;
  std::string key{};                     // of a storage outside of the pickle; empty: its bytes are `data`
  std::span<const std::byte> data = {};  // within the pickle
  bool operator==(const PythonStorage& o) const {
    return dtype == o.dtype && count == o.count && key == o.key && data.data() == o.data.data();
  }
};

struct PythonTensor {
  std::string name;
  PythonStorage storage;
  int64_t first = 0;  // in elements
  std::vector<int64_t> shape, strides;
};

struct PythonTree {
  std::vector<PythonTensor> tensors;
  std::map<std::string, std::string> values;      // numbers, truths and short texts: "512", "true", "skip"
  std::map<std::string, PythonStorage> storages;  // outside of the pickle, by key; also those of no named tensor
  std::vector<std::string> passed_over;           // "cvD: vision_aided_loss.Discriminator"
};

// What pickles of weights may name (parse_pickle).
std::span<const std::string_view> python_globals();

// Dicts, lists and objects join the names of what they hold with dots: "G.mapping.fc0.weight", "args.size". A
// TensorFlow network's variables stand behind a slash: "2/4x4/Const/const". IoError for a tensor that its storage does
// not hold, nesting without an end, more than 100,000 names. The pickle must outlive the data of tensors within it.
PythonTree name_tree(const Pickle& pickle, std::string_view file);

// Of the first pickle in a file of PyTorch before 1.6.
inline constexpr std::string_view pytorch_magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

}  // namespace firn
