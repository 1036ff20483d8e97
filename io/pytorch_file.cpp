#include "io/pytorch_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/layout.h"
#include "io/python_tree.h"
#include "io/zip_directory.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

using Kind = Pickled::Kind;

constexpr uint64_t pickle_limit = 16 << 20;           // of the part that is no data
constexpr uint64_t object_limit = uint64_t{1} << 32;  // of a pickle with its data in it

class Reader {
 public:
  Reader(uint64_t size, ReadAt read, std::string_view name) : size_(size), read_(std::move(read)), name_(name) {}

  PythonFile run() {
    const std::vector<std::byte> head = bytes(0, std::min<uint64_t>(size_, 4));
    const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
    if (text.starts_with("PK"))
      open_zip();
    else
      open_pickles();
    PythonFile file;
    file.name = name_;
    file.metadata = std::move(tree_.values);
    file.passed_over = std::move(tree_.passed_over);
    uint64_t spent = 0;
    for (const PythonTensor& t : tree_.tensors)
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
    for (const ZipExtent& e : zip_) {
      if (e.name.starts_with('/') || leaves_its_root(e.name))
        fail(fmt::format("its zip entry {} is an unsafe name", quoted(e.name)));
      if (!entries_.emplace(e.name, &e).second) fail(fmt::format("holds the zip entry {} twice", quoted(e.name)));
    }
    const auto pickle = std::ranges::find_if(zip_, [](const ZipExtent& e) { return e.name.ends_with("/data.pkl"); });
    if (pickle == zip_.end()) fail("a zip, but not of PyTorch: it has no data.pkl");
    prefix_ = pickle->name.substr(0, pickle->name.size() - std::string_view("data.pkl").size());
    if (const ZipExtent* order = entry(prefix_ + "byteorder")) {
      const auto text = bytes(data_of(*order), std::min<uint64_t>(order->size, 6));
      if (std::memcmp(text.data(), "little", text.size()) != 0) fail("its numbers are not little-endian");
    }
    if (pickle->size > pickle_limit) fail(fmt::format("its data.pkl has {} bytes", pickle->size));
    whole_ = bytes(data_of(*pickle), pickle->size);
    pickle_ = parse_pickle(whole_, name_, python_globals());
    tree_ = name_tree(pickle_, name_);
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
  // count and its data. Or as one, which holds all data itself.
  void open_pickles() {
    whole_ = bytes(0, std::min(size_, pickle_limit));
    size_t at = 0;
    const auto next = [&] {
      Pickle p = parse_pickle(std::span(whole_).subspan(at), name_, python_globals());
      at += p.bytes;
      return p;
    };
    if (!begins_with_magic()) {
      if (size_ > object_limit)
        fail(fmt::format("a pickle of {} bytes, more than the {} that are read", size_, object_limit));
      if (size_ > pickle_limit) whole_ = bytes(0, size_);
      pickle_ = next();
      tree_ = name_tree(pickle_, name_);
      if (!tree_.storages.empty()) fail("a pickle that refers to data outside of it");
      return;
    }
    next();
    if (const Pickle p = next(); !p.root->is(Kind::integer) || p.root->integer != 1001)
      fail("a file of PyTorch in a version that is not known");
    const Pickle system = next();
    for (size_t i = 0; i + 1 < system.root->items.size(); i += 2)
      if (system.root->items[i]->text == "little_endian" && !system.root->items[i + 1]->integer)
        fail("its numbers are not little-endian");
    pickle_ = next();
    tree_ = name_tree(pickle_, name_);
    const Pickle keys = next();
    uint64_t position = at;
    for (const Pickled* key : keys.root->items) {
      const auto storage = tree_.storages.find(std::string(key->text));
      if (storage == tree_.storages.end()) fail("holds data that no tensor has");
      const PythonStorage& wanted = storage->second;
      uint64_t count = 0;
      std::memcpy(&count, bytes(position, 8).data(), 8);
      if (count != uint64_t(wanted.count))
        fail(fmt::format("holds {} numbers for storage {}, expected {}", count, quoted(key->text), wanted.count));
      places_[std::string(key->text)] = position + 8;
      if (count > (size_ - position - 8) / uint64_t(wanted.size))
        fail(fmt::format("truncated within storage {}", quoted(key->text)));
      position += 8 + count * uint64_t(wanted.size);
    }
  }

  // PROTO 2, then LONG1 of ten bytes
  bool begins_with_magic() const {
    constexpr size_t front = 4;
    return whole_.size() >= front + pytorch_magic.size() &&
           std::memcmp(whole_.data() + front, pytorch_magic.data(), pytorch_magic.size()) == 0;
  }

  // Where the numbers of a storage begin, all of which the file has.
  uint64_t place_of(const PythonTensor& t) const {
    const uint64_t size = uint64_t(t.storage.size);
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
  // `count` elements from `first` on.
  std::vector<std::byte> elements(const PythonTensor& t, uint64_t first, uint64_t count) const {
    const auto size = uint64_t(t.storage.size);
    if (t.storage.key.empty()) {
      const auto part = t.storage.data.subspan(first * size, count * size);
      return {part.begin(), part.end()};
    }
    const uint64_t place = place_of(t);  // so that storage.count is no lie
    if (count > size_ / size || place > size_ || (first + count) * size > size_ - place)
      fail(fmt::format("truncated within {}", quoted(t.name)));
    return bytes(place + first * size, count * size);
  }

  StoredTensor values(const PythonTensor& t, uint64_t& spent) const {
    const auto size = uint64_t(t.storage.size);
    StoredTensor stored{std::string(t.storage.dtype), t.shape, {}};
    const auto count = uint64_t(stored.count());
    if (count == 0) return stored;
    uint64_t last = uint64_t(t.first), dense = 1;
    bool contiguous = true;
    for (size_t i = t.shape.size(); i-- > 0;) {
      last += uint64_t(t.shape[i] - 1) * uint64_t(t.strides[i]);
      contiguous &= t.shape[i] == 1 || uint64_t(t.strides[i]) == dense;
      dense *= uint64_t(t.shape[i]);
    }
    const uint64_t held = last - uint64_t(t.first) + 1;
    spent += (contiguous ? count : count + held) * size;  // tensors may share their data: not without an end
    if (spent > 4 * size_) fail("its tensors share their data so often that they are far larger than the file");
    auto data = elements(t, uint64_t(t.first), held);
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

  uint64_t size_;
  ReadAt read_;
  std::string_view name_;
  Pickle pickle_;
  PythonTree tree_;               // whose arrays may lie in the pickle
  std::vector<std::byte> whole_;  // of a file of pickles, as far as there are pickles
  std::vector<ZipExtent> zip_;
  std::map<std::string_view, const ZipExtent*> entries_;
  std::string prefix_;                      // of the zip's entries
  std::map<std::string, uint64_t> places_;  // of storages in a file of pickles
};

}  // namespace

PythonFile parse_pytorch(std::span<const std::byte> bytes, std::string_view name) {
  const ReadAt read = [&](uint64_t offset, uint64_t count) {
    const auto part = bytes.subspan(std::min<uint64_t>(offset, bytes.size()));
    const auto taken = part.first(std::min<uint64_t>(count, part.size()));
    return std::vector<std::byte>(taken.begin(), taken.end());
  };
  return Reader(bytes.size(), read, name).run();
}

PythonFile read_pytorch(const fs::path& path) {
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

}  // namespace firn
