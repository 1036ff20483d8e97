#include "models/published.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/weights.h"
#include "models/files.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

// Buffers that other programs do not keep: the average of w is what it would be, any other has its first values.
void complete(SafetensorsFile& file, const ModelSpec& model, const std::string& prefix) {
  const auto missing = [&](const Parameters& parameters) {
    Parameters found;
    for (const Parameter& p : parameters)
      if (p.buffer() && !file.contains(prefix + "." + p.name())) found.add(p);
    return found;
  };
  {  // before memory is spent on what the file only claims
    const ShapesOnly shapes;
    const std::unique_ptr<Generator> g = make_generator(model, Device::cpu());
    const Parameters absent = missing(g->parameters());
    if (absent.empty()) return;
    for (const Parameter& p : absent) file.tensors[prefix + "." + p.name()] = {"F32", file_shape(p), {}};
    check_network(*g, file, prefix);
    for (const Parameter& p : absent) file.tensors.erase(prefix + "." + p.name());
  }
  const std::unique_ptr<Generator> g = make_generator(model, Device::cpu());
  const Parameters absent = missing(g->parameters());
  for (const Parameter& p : absent) file.tensors[prefix + "." + p.name()] = stored(p);
  auto* const styles = dynamic_cast<StyleGenerator*>(g.get());
  for (const Parameter& p : absent)
    if (styles && p.name().ends_with("w_avg")) {
      load_network(*g, file, prefix);
      styles->estimate_w_avg();
      file.tensors[prefix + "." + p.name()] = stored(p);
    }
}

// What a file says of its training, in short texts.
nlohmann::json remarks(const std::map<std::string, std::string>& values) {
  constexpr size_t most = 256;
  nlohmann::json kept = nlohmann::json::object();
  for (const auto& [name, value] : values)
    if (kept.size() < most &&
        (name.find('.') == name.npos || name.find("_kwargs.") != name.npos || name.starts_with("args.")))
      kept[name] = value;
  return kept;
}

void adopt(PublishedNetworks& read, const FileFormat& format) {
  SafetensorsFile& file = read.file;
  const std::map<std::string, std::string> said = std::exchange(file.metadata, {});
  std::map<std::string, int> dropped;
  format.rename(file);
  for (auto it = file.tensors.begin(); it != file.tensors.end();) {
    const std::string& name = it->first;
    if (name.starts_with("G.") || name.starts_with("D.") || name.starts_with("G_ema.")) {
      ++it;
    } else {
      ++dropped[printable(name.substr(0, name.find('.')), 80)];
      it = file.tensors.erase(it);
    }
  }
  for (const auto& [part, count] : dropped) read.passed_over.push_back(fmt::format("{}: {} tensors", part, count));
  SourceModel source = source_model(file);
  file.metadata = {{"published", nlohmann::json{{"format", format.title}, {"values", remarks(said)}}.dump()}};
  if (format.tell) {
    format.tell(source.model, said);
    source.model.check();
    file.metadata.insert({{"format", snapshot_format}, {"model", to_json(source.model).dump()}});
  }
  for (const char* name : {"G", "G_ema"})
    if (has_network(file, name)) complete(file, source.model, name);
  read.format = format.title;
}

}  // namespace

bool any_starts(const SafetensorsFile& file, std::string_view prefix) {
  const auto it = file.tensors.lower_bound(std::string(prefix));
  return it != file.tensors.end() && it->first.starts_with(prefix);
}

void rename(SafetensorsFile& file, const std::function<std::string(const std::string&)>& name_of) {
  std::map<std::string, StoredTensor> named;
  for (auto& [name, tensor] : file.tensors)
    if (const std::string to = name_of(name); !to.empty() && !named.emplace(to, std::move(tensor)).second)
      throw IoError(fmt::format("{}: two of its tensors would be {}", file.name, printable(to)));
  file.tensors = std::move(named);
}

StoredTensor permuted(const StoredTensor& t, const std::vector<size_t>& axes) {
  const size_t rank = t.shape.size();
  if (axes.size() != rank) throw IoError(fmt::format("a tensor of {} axes is {}", axes.size(), to_string(t.shape)));
  StoredTensor to{t.dtype, Shape(rank), std::vector<std::byte>(t.bytes.size())};
  if (t.bytes.empty()) return to;
  const size_t size = t.bytes.size() / size_t(t.count());
  std::vector<size_t> strides(rank, 1), steps(rank), index(rank);
  for (size_t i = rank; i-- > 1;) strides[i - 1] = strides[i] * size_t(t.shape[i]);
  for (size_t i = 0; i < rank; ++i) {
    to.shape[i] = t.shape[axes[i]];
    steps[i] = strides[axes[i]];
  }
  for (size_t i = 0, from = 0; i < size_t(t.count()); ++i) {
    std::memcpy(to.bytes.data() + i * size, t.bytes.data() + from * size, size);
    for (size_t axis = rank; axis-- > 0;) {
      from += steps[axis];
      if (++index[axis] < size_t(to.shape[axis])) break;
      from -= steps[axis] * size_t(to.shape[axis]);
      index[axis] = 0;
    }
  }
  return to;
}

StoredTensor flipped(const StoredTensor& t, const std::vector<size_t>& axes) {
  StoredTensor to = t;
  for (const size_t axis : axes) {
    if (axis >= t.shape.size() || to.bytes.empty()) continue;
    const size_t length = size_t(t.shape[axis]);
    size_t inner = to.bytes.size() / size_t(t.count());
    for (size_t i = axis + 1; i < t.shape.size(); ++i) inner *= size_t(t.shape[i]);
    for (std::byte* row = to.bytes.data(); row < to.bytes.data() + to.bytes.size(); row += length * inner)
      for (size_t i = 0; i < length / 2; ++i)
        std::swap_ranges(row + i * inner, row + (i + 1) * inner, row + (length - 1 - i) * inner);
  }
  return to;
}

PublishedNetworks read_published(const fs::path& path) {
  PythonFile file = read_weights(path);
  PublishedNetworks read{.file = {}, .format = {}, .passed_over = std::move(file.passed_over)};
  read.file = std::move(file);
  if (const auto own = read.file.metadata.find("format");
      own != read.file.metadata.end() && own->second == snapshot_format)
    return read;
  for (const Model& m : models())
    for (const FileFormat& format : m.formats)
      if (format.recognise(read.file)) {
        adopt(read, format);
        return read;
      }
  return read;
}

SafetensorsFile read_networks(const fs::path& path) { return read_published(path).file; }

SafetensorsFile merged(SafetensorsFile a, SafetensorsFile b) {
  for (const auto& [name, tensor] : b.tensors)
    if (a.contains(name)) throw IoError(fmt::format("{} and {} both hold {}", a.name, b.name, printable(name)));
  const SourceModel of_a = source_model(a), of_b = source_model(b);
  if (of_a.model.kind() != of_b.model.kind())
    throw IoError(fmt::format("{} is of a {}, {} of a {}", a.name, model(of_a.model.kind()).title, b.name,
                              model(of_b.model.kind()).title));
  a.tensors.merge(b.tensors);
  const std::map<std::string, std::string> said = std::exchange(a.metadata, {});
  SourceModel both = source_model(a);  // by all tensors
  take_shape(both.model, of_a, [](const Option& o) { return o.told != Told::by_description; });
  a.metadata = said;
  a.metadata["format"] = snapshot_format;
  a.metadata["model"] = to_json(both.model).dump();
  a.metadata.erase("options");
  source_model(a);  // by its description: they fit together
  return a;
}

}  // namespace firn
