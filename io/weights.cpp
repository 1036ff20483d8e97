#include "io/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "io/file_kind.h"
#include "io/files.h"
#include "io/npz.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

// Before protocol 2 a pickle has no head; objects, lists and dicts begin with one of these.
bool is_pickle(std::string_view head) {
  return !head.empty() && std::string_view("\x80(]}c").find(head[0]) != std::string_view::npos;
}

enum class Form { safetensors, archive, pickles };

Form form_of(std::span<const std::byte> bytes) {  // by the first of them
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 256));
  if (head.size() > 8 && head[8] == '{') return Form::safetensors;
  if (file_kind(std::as_bytes(std::span(head))).find(".npz") != std::string_view::npos) return Form::archive;
  return is_pickle(head) || head.starts_with("PK\3\4") ? Form::pickles : Form::safetensors;
}

PythonFile of(SafetensorsFile file) {
  PythonFile read;
  static_cast<SafetensorsFile&>(read) = std::move(file);
  return read;
}

}  // namespace

PythonFile read_weights(const fs::path& path) {
  const std::vector<std::byte> head = read_head(path, 256);
  if (head.size() < 9) throw IoError(fmt::format("{}: {} bytes are no file of weights", path.string(), head.size()));
  const Form form = form_of(head);
  return form == Form::pickles ? read_pytorch(path)
                               : of(form == Form::archive ? read_npz(path) : read_safetensors(path));
}

PythonFile parse_weights(std::span<const std::byte> bytes, std::string_view name) {
  const Form form = form_of(bytes);
  return form == Form::pickles ? parse_pytorch(bytes, name)
                               : of(form == Form::archive ? parse_npz(bytes, name) : parse_safetensors(bytes, name));
}

}  // namespace firn
