#include "io/npz.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/layout.h"
#include "io/zip_directory.h"
#include "io/zip_writer.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view magic("\x93NUMPY", 6);
constexpr size_t most_axes = 16;
constexpr uint64_t longest_header = 1 << 16, most_bytes = uint64_t{1} << 33;  // of all arrays together

struct Type {
  std::string_view descr, dtype;
  uint64_t size;
};
constexpr Type types[]{{"<f4", "F32", 4}, {"<f8", "F64", 8}, {"<f2", "F16", 2}, {"<i8", "I64", 8},
                       {"<i4", "I32", 4}, {"|u1", "U8", 1},  {"|b1", "U8", 1}};

std::string shown(std::string_view name) { return fmt::format("\"{}\"", printable(name, 80)); }

// What the header says, a dict as Python writes it: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  std::optional<Header> parse() {  // nothing: malformed
    Header h;
    bool descr = false, order = false, shape = false;
    const auto once = [](bool& seen) { return !std::exchange(seen, true); };
    if (!take('{')) return {};
    while (!take('}')) {
      const auto key = string();
      if (!key || !take(':')) return {};
      bool good = false;
      if (*key == "descr") {
        if (peek() == '[') return Header{"of several fields", false, {}};
        const auto value = string();
        good = value && once(descr);
        if (good) h.descr = *value;
      } else if (*key == "fortran_order") {
        h.fortran = word("True");
        good = (h.fortran || word("False")) && once(order);
      } else if (*key == "shape") {
        good = naturals(h.shape) && once(shape);
      }
      if (!good || (!take(',') && peek() != '}')) return {};
    }
    skip();
    if (!rest_.empty() || !descr || !order || !shape) return {};
    return h;
  }

 private:
  void skip() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size())); }
  char peek() { return skip(), rest_.empty() ? '\0' : rest_[0]; }
  bool take(char c) {
    if (peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view w) {
    skip();
    if (!rest_.starts_with(w)) return false;
    rest_.remove_prefix(w.size());
    return true;
  }
  std::optional<std::string> string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return {};
    const size_t end = rest_.find(quote, 1);
    if (end == rest_.npos) return {};
    const std::string value(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return value;
  }
  bool naturals(std::vector<int64_t>& all) {
    if (!take('(')) return false;
    bool comma = true;
    while (!take(')')) {
      int64_t value = 0;
      size_t digits = 0;
      for (skip(); digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, rest_[digits] - '0', &value))
          return false;
      if (digits == 0 || !comma || all.size() == most_axes) return false;
      rest_.remove_prefix(digits);
      if (rest_.starts_with('L')) rest_.remove_prefix(1);  // a long of Python 2
      all.push_back(value);
      comma = take(',');
    }
    return all.size() != 1 || comma;  // (3) is a number
  }

  std::string_view rest_;
};

// The bytes of an entry one after the other, unpacked as they are asked for.
class Unpacked {
 public:
  Unpacked(Bytes packed, bool deflated) : packed_(packed) {
    if (!deflated) return;
    stream_.reset(new z_stream{});
    if (inflateInit2(stream_.get(), -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;

  // Fewer where there are no more.
  std::vector<std::byte> take(uint64_t count) {
    std::vector<std::byte> out(stream_ ? count : std::min<uint64_t>(count, packed_.size()));
    if (!stream_) {
      std::copy_n(packed_.begin(), out.size(), out.begin());
      packed_ = packed_.subspan(out.size());
    } else {
      size_t done = 0;
      for (int status = Z_OK; done < out.size() && status == Z_OK;) {
        const auto piece = [](uint64_t size) { return uInt(std::min<uint64_t>(size, 1 << 30)); };
        const uInt in = piece(packed_.size()), room = piece(out.size() - done);
        stream_->next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data()));
        stream_->avail_in = in;
        stream_->next_out = reinterpret_cast<Bytef*>(out.data() + done);
        stream_->avail_out = room;
        status = inflate(stream_.get(), Z_NO_FLUSH);
        if (status == Z_MEM_ERROR) throw std::bad_alloc();
        packed_ = packed_.subspan(in - stream_->avail_in);
        done += room - stream_->avail_out;
      }
      out.erase(out.begin() + ptrdiff_t(done), out.end());  // not resize, in which g++ 14 sees it grow
    }
    if (!out.empty())  // a null pointer would begin anew
      checksum_ = crc32_z(checksum_, reinterpret_cast<const Bytef*>(out.data()), out.size());
    return out;
  }
  uint32_t checksum() const { return uint32_t(checksum_); }  // of what was taken

 private:
  struct End {
    void operator()(z_stream* s) const {
      inflateEnd(s);
      delete s;
    }
  };
  Bytes packed_;
  std::unique_ptr<z_stream, End> stream_;  // null: stored
  uLong checksum_ = 0;
};

// From the first axis fastest to the last.
std::vector<std::byte> turned(const std::vector<std::byte>& bytes, const std::vector<int64_t>& shape, uint64_t size) {
  std::vector<std::byte> out(bytes.size());
  std::vector<int64_t> index(shape.size());
  for (uint64_t to = 0, from = 0; to < out.size(); to += size) {
    std::memcpy(out.data() + to, bytes.data() + from, size);
    uint64_t stride = bytes.size();
    for (size_t axis = shape.size(); axis-- > 0;) {
      stride /= uint64_t(shape[axis]);
      from += stride;
      if (++index[axis] < shape[axis]) break;
      from -= stride * uint64_t(shape[axis]);
      index[axis] = 0;
    }
  }
  return out;
}

// An array that takes `size` bytes with its header, and without it no more than `at_most`.
StoredTensor array(Unpacked& in, uint64_t size, uint64_t at_most, const auto& fail) {
  const auto take = [&](uint64_t count) {
    if (count > size) fail("is truncated");
    size -= count;
    auto bytes = in.take(count);
    if (bytes.size() < count) fail("is truncated");
    return bytes;
  };
  const auto head = take(8);
  if (std::memcmp(head.data(), magic.data(), magic.size()) != 0) fail("is no array of numpy");
  const int version = int(head[6]);
  if (version < 1 || version > 3) fail(fmt::format("is in version {} of the format, which is not known", version));
  uint64_t length = 0;
  const auto field = take(version == 1 ? 2 : 4);
  std::memcpy(&length, field.data(), field.size());
  if (length > longest_header) fail(fmt::format("has a header of {} bytes", length));
  const auto text = take(length);
  const auto header = HeaderParser({reinterpret_cast<const char*>(text.data()), text.size()}).parse();
  if (!header) fail("has a header that is malformed");
  if (header->descr.starts_with("|O")) fail("holds Python objects, which are not read");
  const auto type = std::ranges::find(types, header->descr, &Type::descr);
  if (type == std::end(types))
    fail(fmt::format("has numbers {}, which are not read: there are f2, f4, f8, i4, i8, u1 and b1, little-endian",
                     printable(header->descr, 40)));
  uint64_t bytes = type->size;
  for (const int64_t d : header->shape)
    if (__builtin_mul_overflow(bytes, uint64_t(d), &bytes)) fail("has a shape that overflows");
  if (bytes != size) fail(fmt::format("needs {} bytes for its shape and has {}", bytes, size));
  if (bytes > at_most) fail("is larger than arrays of a file may be together, 8 GB");
  StoredTensor t{std::string(type->dtype), header->shape, take(bytes)};
  if (header->fortran && t.shape.size() > 1) t.bytes = turned(t.bytes, t.shape, type->size);
  return t;
}

std::string header_of(const StoredTensor& t, const Type& type) {
  std::string shape;
  for (const int64_t d : t.shape) shape += fmt::format("{}, ", d);
  if (t.shape.size() > 1) shape.resize(shape.size() - 2);
  if (t.shape.size() == 1) shape.pop_back();
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type.descr, shape);
  text.resize((magic.size() + 4 + text.size() + 64) / 64 * 64 - magic.size() - 5, ' ');
  text += '\n';
  const char version_and_length[]{1, 0, char(text.size() & 0xff), char(text.size() >> 8)};
  return std::string(magic) + std::string(version_and_length, 4) + text;
}

}  // namespace

StoredTensor parse_npy(Bytes bytes, std::string_view name) {
  Unpacked in(bytes, false);
  return array(in, bytes.size(), most_bytes,
               [&](std::string_view what) { throw IoError(fmt::format("{} {}", name, what)); });
}

SafetensorsFile parse_npz(Bytes bytes, std::string_view name) {
  const auto fail = [&](std::string_view what) { throw IoError(fmt::format("{}: {}", name, what)); };
  const ReadAt read = [&](uint64_t offset, uint64_t count) {
    const Bytes part = bytes.subspan(std::min<uint64_t>(offset, bytes.size()));
    const Bytes taken = part.first(std::min<uint64_t>(count, part.size()));
    return std::vector<std::byte>(taken.begin(), taken.end());
  };
  const std::vector<ZipExtent> entries = zip_extents(read, bytes.size());
  if (entries.empty()) fail("not a .npz, which is a zip with arrays, or it is truncated");
  if (std::ranges::any_of(overlapping(entries), [](bool o) { return o; })) fail("its zip entries overlap");
  SafetensorsFile file{.tensors = {}, .metadata = {}, .name = std::string(name)};
  uint64_t left = std::min(most_bytes, (16 << 20) + 16 * uint64_t(bytes.size()));  // weights hardly shrink
  for (const ZipExtent& e : entries) {
    const auto wrong = [&](std::string_view what) { fail(fmt::format("{} {}", shown(e.name), what)); };
    if (!e.name.ends_with(".npy")) wrong("is no array: its name does not end in .npy");
    if (e.name.starts_with('/') || leaves_its_root(e.name)) wrong("is an unsafe name");
    if (!e.plain && !e.deflated) wrong("is encrypted, or packed in a way that numpy does not use");
    const auto data = zip_data(read, e);
    if (!data || *data > bytes.size() || e.packed > bytes.size() - *data || (e.plain && e.packed != e.size))
      wrong("is truncated or damaged");
    // Deflate shrinks at most 1032 times: what claims more is a lie or a bomb.
    if (e.deflated && e.size / 1032 > e.packed)
      wrong(fmt::format("claims to grow from {} to {} bytes", e.packed, e.size));
    Unpacked in(bytes.subspan(*data, e.packed), e.deflated);
    StoredTensor t = array(in, e.size, left, wrong);
    if (!in.take(1).empty() || in.checksum() != e.checksum) wrong("is damaged: its checksum or size is wrong");
    left -= t.bytes.size();
    if (!file.tensors.emplace(e.name.substr(0, e.name.size() - 4), std::move(t)).second) wrong("is there twice");
  }
  return file;
}

SafetensorsFile read_npz(const fs::path& path) { return parse_npz(read_bytes(path), path.string()); }
StoredTensor read_npy(const fs::path& path) { return parse_npy(read_bytes(path), path.string()); }

void write_npz(const fs::path& path, const SafetensorsFile& file) {
  ZipFile zip(path);
  for (const auto& [name, t] : file.tensors) {
    const auto type = std::ranges::find(types, t.dtype, &Type::dtype);
    if (type == std::end(types) || uint64_t(t.count()) * type->size != t.bytes.size())
      throw IoError(fmt::format("cannot write {}: {} has a dtype or byte count that numpy does not know", path.string(),
                                shown(name)));
    zip.add(name + ".npy",
            header_of(t, *type) + std::string(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size()));
  }
  zip.finish();
}

}  // namespace firn
