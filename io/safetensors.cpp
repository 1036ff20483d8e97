#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <ostream>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "io/file_kind.h"
#include "io/files.h"
#include "io/json.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr uint64_t header_limit = 100'000'000;  // the format's own
constexpr size_t tensor_limit = 100'000;        // networks have hundreds
constexpr JsonLimits json_limits{.depth = 3, .values = int64_t{tensor_limit} * 20};

int64_t element_size(std::string_view dtype) {  // 0: unknown
  if (dtype == "F64" || dtype == "I64") return 8;
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F16" || dtype == "BF16") return 2;
  return dtype == "U8" ? 1 : 0;
}

std::optional<int64_t> checked_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t d : shape)
    if (d < 0 || __builtin_mul_overflow(count, d, &count)) return {};
  return count;
}

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t begin, end;
};

struct Header {
  std::vector<Entry> entries;  // in file order, without holes
  std::map<std::string, std::string> metadata;
};

int64_t natural(const nlohmann::json& value, const auto& fail) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
    fail("a size or offset is not a natural number");
  return value.get<int64_t>();
}

Entry parse_entry(const std::string& tensor, const nlohmann::json& spec, std::string_view file) {
  const auto fail = [&](std::string_view what) {
    throw IoError(fmt::format("{}: tensor \"{}\": {}", file, printable(tensor), what));
  };
  const auto member = [&](const char* key, auto is) -> const nlohmann::json& {
    const auto found = spec.find(key);
    if (found == spec.end() || !is(*found)) fail(fmt::format("\"{}\" is missing or malformed", key));
    return *found;
  };
  const auto is_array = [](const nlohmann::json& j) { return j.is_array(); };
  if (!spec.is_object()) fail("its entry is not an object");

  Entry entry{.name = tensor,
              .dtype = member("dtype", [](const auto& j) { return j.is_string(); }),
              .shape = {},
              .begin = 0,
              .end = 0};
  const int64_t size = element_size(entry.dtype);
  if (size == 0) fail(fmt::format("unknown dtype \"{}\"", printable(entry.dtype)));
  for (const auto& d : member("shape", is_array)) entry.shape.push_back(natural(d, fail));
  const auto& offsets = member("data_offsets", is_array);
  if (offsets.size() != 2) fail("\"data_offsets\" is not a pair");
  entry.begin = natural(offsets[0], fail);
  entry.end = natural(offsets[1], fail);
  if (entry.begin > entry.end) fail("its offsets are reversed");

  const auto count = checked_count(entry.shape);
  int64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, size, &bytes)) fail("its shape overflows");
  if (bytes != entry.end - entry.begin)
    fail(fmt::format("its shape needs {} bytes, its offsets span {}", bytes, entry.end - entry.begin));
  return entry;
}

Header parse_header(std::string_view text, int64_t data_size, std::string_view file) {
  const auto json = parse_json(text, file, json_limits);
  if (!json.is_object()) throw IoError(fmt::format("{}: the header is not a JSON object", file));
  if (json.size() > tensor_limit + 1) throw IoError(fmt::format("{}: more than {} tensors", file, tensor_limit));
  Header header;
  for (const auto& [key, value] : json.items()) {
    if (key != "__metadata__") {
      header.entries.push_back(parse_entry(key, value, file));
      continue;
    }
    if (!value.is_object()) throw IoError(fmt::format("{}: \"__metadata__\" is not an object", file));
    for (const auto& [k, v] : value.items()) {
      if (!v.is_string()) throw IoError(fmt::format("{}: metadata \"{}\" is not a string", file, printable(k)));
      header.metadata[k] = v;
    }
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t position = 0;
  for (const Entry& e : header.entries) {
    if (e.end > data_size)
      throw IoError(fmt::format("{}: tensor \"{}\" ends at byte {} of {}; the file is truncated or its header is wrong",
                                file, printable(e.name), e.end, data_size));
    if (e.begin != position)
      throw IoError(fmt::format("{}: tensor \"{}\" {}", file, printable(e.name),
                                e.begin < position ? "overlaps the one before it" : "leaves a hole before it"));
    position = e.end;
  }
  if (position != data_size)
    throw IoError(fmt::format("{}: {} bytes follow the last tensor", file, data_size - position));
  return header;
}

// What begins like no header is most often a network in another program's format.
[[noreturn]] void throw_foreign(std::string_view file, uint64_t length, int64_t file_size, const auto& read) {
  std::vector<std::byte> head(size_t(std::min<int64_t>(file_size, 512)));
  std::memcpy(head.data(), &length, 8);
  read(reinterpret_cast<char*>(head.data()) + 8, head.size() - 8);
  const std::string_view kind = file_kind(head);
  throw IoError(
      fmt::format("{}: not a safetensors file but {}; which files of weights are read stands in docs/convert.md", file,
                  kind.empty() ? "of an unknown kind" : kind));
}

// `read(buffer, size)` delivers the next bytes of the file and throws when there are fewer.
Header read_header(int64_t file_size, std::string_view file, const auto& read) {
  uint64_t length = 0;
  if (file_size < 8) throw IoError(fmt::format("{}: truncated: {} bytes are no safetensors file", file, file_size));
  read(reinterpret_cast<char*>(&length), 8);
  if (length > header_limit) throw_foreign(file, length, file_size, read);
  if (int64_t(length) > file_size - 8)
    throw IoError(fmt::format("{}: truncated: a header of {} bytes in a file of {}", file, length, file_size));
  std::string text(length, '\0');
  read(text.data(), length);
  return parse_header(text, file_size - 8 - int64_t(length), file);
}

SafetensorsFile read_tensors(int64_t file_size, std::string_view name, const auto& read) {
  Header header = read_header(file_size, name, read);
  SafetensorsFile file{.tensors = {}, .metadata = std::move(header.metadata), .name = std::string(name)};
  for (Entry& e : header.entries) {
    StoredTensor tensor{std::move(e.dtype), std::move(e.shape), std::vector<std::byte>(size_t(e.end - e.begin))};
    read(reinterpret_cast<char*>(tensor.bytes.data()), tensor.bytes.size());
    file.tensors.emplace(std::move(e.name), std::move(tensor));
  }
  return file;
}

// Opens the file and hands its size and a checked reader to `use`.
auto with_file(const fs::path& path, const auto& use) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) throw IoError(fmt::format("cannot read {}: {}", path.string(), error.message()));
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  return use(int64_t(size), [&](char* to, size_t n) {
    if (in.read(to, std::streamsize(n))) return;
    throw IoError(in.bad() ? fmt::format("cannot read {}: {}", path.string(), std::strerror(errno))
                           : fmt::format("{}: the file ended early", path.string()));
  });
}

float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // Shifted into a float's fields the exponent is 112 too small; a product repairs it, subnormals included.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

template <class Stored, class To>
std::vector<To> convert(const StoredTensor& t, auto decode) {
  std::vector<To> out(t.bytes.size() / sizeof(Stored));
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, t.bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = To(decode(value));
  }
  return out;
}

template <class To>
std::vector<To> to_vector(const StoredTensor& t) {
  const auto same = [](auto v) { return v; };
  if (t.dtype == "F32") return convert<float, To>(t, same);
  if (t.dtype == "F64") return convert<double, To>(t, same);
  if (t.dtype == "I64") return convert<int64_t, To>(t, same);
  if (t.dtype == "I32") return convert<int32_t, To>(t, same);
  if (t.dtype == "U8") return convert<uint8_t, To>(t, same);
  if (t.dtype == "F16") return convert<uint16_t, To>(t, half_to_float);
  if (t.dtype == "BF16")
    return convert<uint16_t, To>(t, [](uint16_t v) { return std::bit_cast<float>(uint32_t(v) << 16); });
  throw IoError(fmt::format("unknown dtype \"{}\"", printable(t.dtype)));
}

template <class T>
StoredTensor store(const char* dtype, std::span<const T> values, std::vector<int64_t> shape) {
  if (checked_count(shape) != int64_t(values.size()))
    throw ShapeError(fmt::format("StoredTensor::of: {} values do not fill a shape of {} dimensions with {} elements",
                                 values.size(), shape.size(), checked_count(shape).value_or(-1)));
  const auto bytes = std::as_bytes(values);
  return {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

}  // namespace

int64_t StoredTensor::count() const {
  const auto n = checked_count(shape);
  if (!n) throw ShapeError("StoredTensor: the shape is negative or overflows");
  return *n;
}

std::vector<float> StoredTensor::to_floats() const { return to_vector<float>(*this); }
std::vector<double> StoredTensor::to_doubles() const { return to_vector<double>(*this); }

StoredTensor StoredTensor::of(std::span<const float> v, std::vector<int64_t> s) {
  return store("F32", v, std::move(s));
}
StoredTensor StoredTensor::of(std::span<const double> v, std::vector<int64_t> s) {
  return store("F64", v, std::move(s));
}
StoredTensor StoredTensor::of(std::span<const int64_t> v, std::vector<int64_t> s) {
  return store("I64", v, std::move(s));
}
StoredTensor StoredTensor::of(std::span<const uint8_t> v, std::vector<int64_t> s) {
  return store("U8", v, std::move(s));
}

const StoredTensor& SafetensorsFile::at(const std::string& tensor) const {
  const auto found = tensors.find(tensor);
  if (found == tensors.end()) throw IoError(fmt::format("{}: there is no tensor \"{}\"", name, printable(tensor)));
  return found->second;
}

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view name) {
  size_t position = 0;
  return read_tensors(int64_t(bytes.size()), name, [&](char* to, size_t n) {
    std::copy_n(reinterpret_cast<const char*>(bytes.data()) + position, n, to);
    position += n;
  });
}

SafetensorsFile read_safetensors(const fs::path& path) {
  return with_file(path, [&](int64_t size, const auto& read) { return read_tensors(size, path.string(), read); });
}

namespace {

// `put` is given what writes; `to` is its name in messages.
void write_tensors(const SafetensorsFile& file, const std::string& to,
                   const std::function<void(const std::function<void(std::ostream&)>&)>& put) {
  // Widest elements first, so that every tensor of a memory-mapped file is aligned.
  std::vector<const std::pair<const std::string, StoredTensor>*> order;
  for (const auto& named : file.tensors) order.push_back(&named);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return element_size(a->second.dtype) > element_size(b->second.dtype);
  });

  nlohmann::json header = nlohmann::json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  size_t position = 0;
  for (const auto* named : order) {
    const auto& [name, t] = *named;
    const int64_t size = element_size(t.dtype);
    if (size == 0 || name == "__metadata__" || t.count() * size != int64_t(t.bytes.size()))
      throw IoError(
          fmt::format("cannot write {}: tensor \"{}\" has a bad name, dtype or byte count", to, printable(name)));
    header[name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {position, position + t.bytes.size()}}};
    position += t.bytes.size();
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw IoError(fmt::format("cannot write {}: a name or metadata is not UTF-8", to));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  put([&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text;
    for (const auto* named : order)
      out.write(reinterpret_cast<const char*>(named->second.bytes.data()), std::streamsize(named->second.bytes.size()));
  });
}

}  // namespace

void write_safetensors(const fs::path& path, const SafetensorsFile& file) {
  write_tensors(file, path.string(), [&](const auto& writer) { atomic_write(path, writer); });
}

std::string safetensors_bytes(const SafetensorsFile& file) {
  std::ostringstream out;
  write_tensors(file, file.name, [&](const auto& writer) { writer(out); });
  return std::move(out).str();
}

}  // namespace firn
