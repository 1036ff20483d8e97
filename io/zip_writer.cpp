// Stored entries written one after the other, with zip64 records where sizes or counts need them, so that a set larger
// than memory can be converted; libzip would hold every image until it closes.
#include "io/zip_writer.h"

#include <zlib.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "io/files.h"

namespace firn {
namespace {

constexpr uint64_t full32 = 0xffffffff, full16 = 0xffff;

// Little-endian fields of a zip record.
class Record {
 public:
  Record& u16(uint64_t v) { return put(v, 2); }
  Record& u32(uint64_t v) { return put(v, 4); }
  Record& u64(uint64_t v) { return put(v, 8); }
  Record& text(std::string_view t) { return bytes_ += t, *this; }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& put(uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes_ += char(v >> 8 * i & 0xff);
    return *this;
  }
  std::string bytes_;
};

struct Entry {
  std::string name;
  uint64_t offset, size;
  uint32_t crc;
};

// The fields that the local and the central header share: version, UTF-8 names, stored, 1980-01-01, checksum, sizes.
Record& common(Record& r, const Entry& e, size_t extra) {
  return r.u16(extra ? 45 : 20)
      .u16(0x0800)
      .u16(0)
      .u16(0)
      .u16(0x0021)
      .u32(e.crc)
      .u32(e.size)
      .u32(e.size)
      .u16(e.name.size())
      .u16(extra);
}

std::string local_header(const Entry& e) {
  Record r;
  r.u32(0x04034b50);
  return common(r, e, 0).text(e.name).bytes();
}

std::string central_header(const Entry& e) {
  Record extra, r;
  if (e.offset >= full32) extra.u16(1).u16(8).u64(e.offset);
  r.u32(0x02014b50).u16(3 << 8 | 45);
  common(r, e, extra.bytes().size()).u16(0).u16(0).u16(0).u32(uint64_t{0100644} << 16).u32(std::min(e.offset, full32));
  return r.text(e.name).text(extra.bytes()).bytes();
}

std::string end_records(uint64_t count, uint64_t start, uint64_t size) {
  Record r;
  if (count >= full16 || start + size >= full32) {
    r.u32(0x06064b50).u64(44).u16(3 << 8 | 45).u16(45).u32(0).u32(0).u64(count).u64(count).u64(size).u64(start);
    r.u32(0x07064b50).u32(0).u64(start + size).u32(1);
  }
  r.u32(0x06054b50).u16(0).u16(0).u16(std::min(count, full16)).u16(std::min(count, full16));
  return r.u32(std::min(size, full32)).u32(std::min(start, full32)).u16(0).bytes();
}

}  // namespace

struct ZipFile::State {
  AtomicFile file;
  std::vector<Entry> entries;
  uint64_t position = 0;

  explicit State(std::filesystem::path path) : file(std::move(path)) {}

  void write(std::string_view bytes) {
    file.stream().write(bytes.data(), std::streamsize(bytes.size()));
    position += bytes.size();
  }
};

ZipFile::ZipFile(std::filesystem::path path) : state_(std::make_unique<State>(std::move(path))) {}
ZipFile::~ZipFile() = default;

void ZipFile::add(std::string name, std::string_view bytes) {
  State& s = *state_;
  if (bytes.size() >= full32) throw IoError(fmt::format("zip entry {} is larger than 4 GB", name));
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  s.entries.push_back({std::move(name), s.position, bytes.size(), uint32_t(crc)});
  s.write(local_header(s.entries.back()));
  s.write(bytes);
}

void ZipFile::finish() {
  State& s = *state_;
  const uint64_t start = s.position;
  for (const Entry& e : s.entries) s.write(central_header(e));
  s.write(end_records(s.entries.size(), start, s.position - start));
  s.file.commit();
}

struct ZipWriter::State {
  nlohmann::json labels = nlohmann::json::array();
  int64_t images = 0;
};

ZipWriter::ZipWriter(std::filesystem::path path) : file_(std::move(path)), state_(std::make_unique<State>()) {}
ZipWriter::~ZipWriter() = default;

void ZipWriter::add(const Image& image, int label) { add(image, label < 0 ? "" : fmt::format("{}", label)); }

void ZipWriter::add(const Image& image, std::string_view label_json) {
  State& s = *state_;
  const std::string name = fmt::format("{:05}/img{:08}.png", s.images / 1000, s.images);
  ++s.images;
  const auto png = encode_png(image);
  file_.add(name, {reinterpret_cast<const char*>(png.data()), png.size()});
  if (!label_json.empty()) s.labels.push_back({name, nlohmann::json::parse(label_json)});
}

void ZipWriter::finish(const std::vector<std::string>& class_names) {
  const nlohmann::json& labels = state_->labels;
  nlohmann::json json = {{"labels", labels.empty() ? nlohmann::json() : labels}};
  if (!labels.empty() && !class_names.empty()) json["classes"] = class_names;
  file_.add("dataset.json", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  file_.finish();
}

}  // namespace firn
