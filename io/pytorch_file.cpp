#include "io/pytorch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "io/file_kind.h"
#include "io/files.h"
#include "io/pickle.h"
#include "io/zip_directory.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

using Kind = Pickled::Kind;

constexpr uint64_t pickle_limit = 16 << 20;  // of the part that is no data
constexpr size_t most_axes = 16, deepest = 4;
constexpr std::string_view magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

struct Type {
  std::string_view storage, dtype;
  int64_t size;  // of an element in the file
};
constexpr Type types[]{{"torch.FloatStorage", "F32", 4}, {"torch.DoubleStorage", "F64", 8},
                       {"torch.HalfStorage", "F16", 2},  {"torch.BFloat16Storage", "BF16", 2},
                       {"torch.LongStorage", "I64", 8},  {"torch.IntStorage", "I32", 4},
                       {"torch.ByteStorage", "U8", 1},   {"torch.BoolStorage", "U8", 1}};
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor",
                           rebuild_tensor_v2 = "torch._utils._rebuild_tensor_v2",
                           rebuild_parameter = "torch._utils._rebuild_parameter";

std::vector<std::string_view> allowed() {
  std::vector<std::string_view> names{"collections.OrderedDict", rebuild_tensor, rebuild_tensor_v2, rebuild_parameter};
  for (const Type& t : types) names.push_back(t.storage);
  return names;
}

struct Storage {
  const Type* type;
  std::string key;
  int64_t count;
  bool operator==(const Storage&) const = default;
};

struct Tensor {
  std::string name;
  Storage storage;
  int64_t first;
  std::vector<int64_t> shape, strides;
};

class Reader {
 public:
  Reader(uint64_t size, ReadAt read, std::string_view name) : size_(size), read_(std::move(read)), name_(name) {}

  SafetensorsFile run() {
    const std::vector<std::byte> head = bytes(0, std::min<uint64_t>(size_, 4));
    const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
    if (text.starts_with("PK"))
      open_zip();
    else
      open_pickles();
    SafetensorsFile file{.tensors = {}, .metadata = {}, .name = std::string(name_)};
    uint64_t spent = 0;
    for (const Tensor& t : tensors_)
      if (!file.tensors.emplace(t.name, values(t, spent)).second) fail(fmt::format("holds {} twice", quoted(t.name)));
    if (file.tensors.empty()) fail("holds no tensors");
    return file;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw IoError(fmt::format("{}: {}", name_, what)); }
  static std::string quoted(std::string_view name) { return fmt::format("\"{}\"", printable(name, 80)); }

  std::vector<std::byte> bytes(uint64_t offset, uint64_t count) const {
    if (offset > size_ || count > size_ - offset) fail("truncated");
    return read_(offset, count);
  }

  // --- as a zip: NAME/data.pkl, and NAME/data/KEY for each storage, not compressed
  void open_zip() {
    zip_ = zip_extents(read_, size_);
    if (std::ranges::any_of(overlapping(zip_), [](bool o) { return o; })) fail("its zip entries overlap");
    for (const ZipExtent& e : zip_)
      if (!entries_.emplace(e.name, &e).second) fail(fmt::format("holds the zip entry {} twice", quoted(e.name)));
    const auto pickle = std::ranges::find_if(zip_, [](const ZipExtent& e) { return e.name.ends_with("/data.pkl"); });
    if (pickle == zip_.end()) fail("a zip, but not of PyTorch: it has no data.pkl");
    prefix_ = pickle->name.substr(0, pickle->name.size() - std::string_view("data.pkl").size());
    if (const ZipExtent* order = entry(prefix_ + "byteorder")) {
      const auto text = bytes(data_of(*order), std::min<uint64_t>(order->size, 6));
      if (std::memcmp(text.data(), "little", text.size()) != 0) fail("its numbers are not little-endian");
    }
    if (pickle->size > pickle_limit) fail(fmt::format("its data.pkl has {} bytes", pickle->size));
    const auto text = bytes(data_of(*pickle), pickle->size);
    collect(parse_pickle(text, name_, allowed()));
  }
  const ZipExtent* entry(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : found->second;
  }
  uint64_t data_of(const ZipExtent& e) const {
    if (!e.plain || e.packed != e.size) fail(fmt::format("its zip entry {} is compressed", quoted(e.name)));
    const auto data = zip_data(read_, e);
    if (!data || *data > size_ || e.size > size_ - *data)
      fail(fmt::format("its zip entry {} is truncated or damaged", quoted(e.name)));
    return *data;
  }

  // --- as pickles: the magic number, the version, sizes of types, the state dict, keys of storages; then of each its
  // count and its data
  void open_pickles() {
    const std::vector<std::byte> head = bytes(0, std::min(size_, pickle_limit));
    size_t at = 0;
    const auto next = [&] {
      Pickle p = parse_pickle(std::span(head).subspan(at), name_, allowed());
      at += p.bytes;
      return p;
    };
    if (const Pickle p = next(); !p.root->is(Kind::large) || p.root->text != magic)
      fail("a pickle, but not of PyTorch");
    if (const Pickle p = next(); !p.root->is(Kind::integer) || p.root->integer != 1001)
      fail("a file of PyTorch in a version that is not known");
    const Pickle system = next();
    for (size_t i = 0; i + 1 < system.root->items.size(); i += 2)
      if (system.root->items[i]->text == "little_endian" && !system.root->items[i + 1]->integer)
        fail("its numbers are not little-endian");
    collect(next());
    const Pickle keys = next();
    uint64_t position = at;
    for (const Pickled* key : keys.root->items) {
      const auto storage = storages_.find(key->text);
      if (storage == storages_.end()) fail("holds data that no tensor has");
      const Storage& wanted = storage->second;
      uint64_t count = 0;
      std::memcpy(&count, bytes(position, 8).data(), 8);
      if (count != uint64_t(wanted.count))
        fail(fmt::format("holds {} numbers for storage {}, expected {}", count, quoted(key->text), wanted.count));
      places_[key->text] = position + 8;
      if (count > (size_ - position - 8) / uint64_t(wanted.type->size))
        fail(fmt::format("truncated within storage {}", quoted(key->text)));
      position += 8 + count * uint64_t(wanted.type->size);
    }
  }

  // --- the state dict, and all storages: what an optimiser has lies between the others' data, too
  void collect(const Pickle& pickle) {
    if (!pickle.root->is(Kind::dict)) fail("holds no dict of tensors");
    for (const Pickled& value : pickle.values)
      if (const auto s = storage(value); s && storages_.emplace(s->key, *s).first->second != *s)
        fail(fmt::format("storage {} is of two kinds", quoted(s->key)));
    collect(*pickle.root, "", 0);
  }
  void collect(const Pickled& dict, const std::string& prefix, size_t depth) {
    if (depth > deepest) fail("has dicts in dicts in dicts: no state dict");
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      if (++visited_ > most_entries) fail(fmt::format("holds more than {} names", most_entries));
      const Pickled &key = *dict.items[i], *value = dict.items[i + 1];
      if (!key.is(Kind::text)) continue;
      const std::string name = prefix + key.text;
      if (value->calls(rebuild_parameter) && !value->items.empty()) value = value->items[0];
      if (value->is(Kind::dict)) collect(*value, name + ".", depth + 1);
      if (value->calls(rebuild_tensor) || value->calls(rebuild_tensor_v2)) tensors_.push_back(tensor(name, *value));
    }
  }

  static std::optional<Storage> storage(const Pickled& value) {
    const std::vector<const Pickled*>& id = value.items;
    if (!value.is(Kind::persistent) || id.size() < 5 || id[0]->text != "storage" || !id[1]->is(Kind::global) ||
        !id[2]->is(Kind::text) || !id[4]->is(Kind::integer) || id[4]->integer < 0 ||
        (id.size() > 5 && !id[5]->is(Kind::none)))
      return {};
    const auto type = std::ranges::find(types, id[1]->text, &Type::storage);
    if (type == std::end(types)) return {};
    return Storage{&*type, id[2]->text, id[4]->integer};
  }

  Tensor tensor(const std::string& name, const Pickled& call) const {
    const auto malformed = [&](bool when) {
      if (when) fail(fmt::format("tensor {} is malformed", quoted(name)));
    };
    malformed(call.items.size() < 4);
    const auto data = storage(*call.items[0]);
    malformed(!data);
    Tensor t{.name = name, .storage = *data, .first = natural(name, *call.items[1])};
    t.shape = naturals(name, *call.items[2]);
    t.strides = naturals(name, *call.items[3]);
    malformed(t.shape.size() != t.strides.size());
    // The last element, and how many there are: none may lie outside, nor be given twice.
    int64_t last = t.first, count = 1;
    bool empty = false;
    for (size_t i = 0; i < t.shape.size(); ++i) {
      int64_t reach = 0;
      malformed(__builtin_mul_overflow(count, std::max<int64_t>(1, t.shape[i]), &count) ||
                __builtin_mul_overflow(std::max<int64_t>(0, t.shape[i] - 1), t.strides[i], &reach) ||
                __builtin_add_overflow(last, reach, &last));
      empty |= t.shape[i] == 0;
    }
    if (!empty && (last >= t.storage.count || count > t.storage.count))
      fail(fmt::format("tensor {} needs {} numbers, its storage has {}", quoted(name), std::max(last + 1, count),
                       t.storage.count));
    return t;
  }
  int64_t natural(const std::string& tensor, const Pickled& v) const {
    if (!v.is(Kind::integer) || v.integer < 0) fail(fmt::format("tensor {} has a size that is none", quoted(tensor)));
    return v.integer;
  }
  std::vector<int64_t> naturals(const std::string& tensor, const Pickled& v) const {
    if (!v.is(Kind::tuple) || v.items.size() > most_axes) fail(fmt::format("tensor {} has no shape", quoted(tensor)));
    std::vector<int64_t> all;
    for (const Pickled* item : v.items) all.push_back(natural(tensor, *item));
    return all;
  }

  // Where the numbers of a storage begin, all of which the file has.
  uint64_t place_of(const Tensor& t) const {
    const uint64_t size = uint64_t(t.storage.type->size);
    if (zip_.empty()) {
      const auto found = places_.find(t.storage.key);
      if (found == places_.end()) fail(fmt::format("has no data for tensor {}", quoted(t.name)));
      return found->second;
    }
    const ZipExtent* const e = entry(prefix_ + "data/" + t.storage.key);
    if (!e) fail(fmt::format("has no data for tensor {}", quoted(t.name)));
    if (e->size % size || e->size / size < uint64_t(t.storage.count))
      fail(fmt::format("holds {} bytes for tensor {}, expected {}", e->size, quoted(t.name),
                       uint64_t(t.storage.count) * size));
    return data_of(*e);
  }

  StoredTensor values(const Tensor& t, uint64_t& spent) const {
    const auto size = uint64_t(t.storage.type->size);
    StoredTensor stored{std::string(t.storage.type->dtype), t.shape, {}};
    const auto count = uint64_t(stored.count());
    if (count == 0) return stored;
    const uint64_t place = place_of(t);  // so that storage.count is no lie
    uint64_t last = uint64_t(t.first), dense = 1;
    bool contiguous = true;
    for (size_t i = t.shape.size(); i-- > 0;) {
      last += uint64_t(t.shape[i] - 1) * uint64_t(t.strides[i]);
      contiguous &= t.shape[i] == 1 || uint64_t(t.strides[i]) == dense;
      dense *= uint64_t(t.shape[i]);
    }
    const uint64_t held = last - uint64_t(t.first) + 1;
    if (held > size_ / size || place > size_ || (uint64_t(t.first) + held) * size > size_ - place)
      fail(fmt::format("truncated within {}", quoted(t.name)));
    spent += (contiguous ? count : count + held) * size;  // tensors may share their data: not without an end
    if (spent > 4 * size_) fail("its tensors share their data so often that they are far larger than the file");
    auto data = bytes(place + uint64_t(t.first) * size, held * size);
    if (contiguous) {
      stored.bytes = std::move(data);
      return stored;
    }
    stored.bytes.resize(count * size);
    std::vector<int64_t> index(t.shape.size());
    for (uint64_t i = 0, from = 0; i < count; ++i) {
      std::memcpy(stored.bytes.data() + i * size, data.data() + from * size, size);
      for (size_t axis = t.shape.size(); axis-- > 0;) {
        from += uint64_t(t.strides[axis]);
        if (++index[axis] < t.shape[axis]) break;
        from -= uint64_t(t.strides[axis]) * uint64_t(t.shape[axis]);
        index[axis] = 0;
      }
    }
    return stored;
  }

  static constexpr size_t most_entries = 100'000;

  uint64_t size_;
  ReadAt read_;
  std::string_view name_;
  std::vector<Tensor> tensors_;
  std::map<std::string, Storage> storages_;
  size_t visited_ = 0;  // entries of dicts
  std::vector<ZipExtent> zip_;
  std::map<std::string_view, const ZipExtent*> entries_;
  std::string prefix_;                      // of the zip's entries
  std::map<std::string, uint64_t> places_;  // of storages in a file of pickles
};

}  // namespace

SafetensorsFile parse_pytorch(std::span<const std::byte> bytes, std::string_view name) {
  const ReadAt read = [&](uint64_t offset, uint64_t count) {
    const auto part = bytes.subspan(std::min<uint64_t>(offset, bytes.size()));
    const auto taken = part.first(std::min<uint64_t>(count, part.size()));
    return std::vector<std::byte>(taken.begin(), taken.end());
  };
  return Reader(bytes.size(), read, name).run();
}

SafetensorsFile read_pytorch(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  if (!in || error)
    throw IoError(fmt::format("cannot read {}: {}", path.string(), error ? error.message() : std::strerror(errno)));
  const ReadAt read = [&](uint64_t offset, uint64_t count) {
    std::vector<std::byte> part(offset < size ? std::min(count, size - offset) : 0);
    in.seekg(std::streamoff(offset));
    if (!in.read(reinterpret_cast<char*>(part.data()), std::streamsize(part.size())))
      throw SystemError(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
    return part;
  };
  return Reader(size, read, path.string()).run();
}

SafetensorsFile read_weights(const fs::path& path) {
  const std::vector<std::byte> head = read_head(path, 4);
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  return text.starts_with("PK\3\4") || text.starts_with("\x80\2") ? read_pytorch(path) : read_safetensors(path);
}

}  // namespace firn
