#include "io/zip_directory.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

namespace firn {
namespace {

using Bytes = std::span<const std::byte>;

constexpr uint64_t full16 = 0xffff, full32 = 0xffffffff;
constexpr size_t end_size = 22, end64_size = 56, locator_size = 20, header_size = 46, local_size = 30;

uint64_t number(Bytes b, size_t at, size_t size) {
  uint64_t v = 0;
  for (size_t i = size; i-- > 0;) v = v << 8 | uint64_t(b[at + i]);
  return v;
}
uint64_t u16(Bytes b, size_t at) { return number(b, at, 2); }
uint64_t u32(Bytes b, size_t at) { return number(b, at, 4); }
uint64_t u64(Bytes b, size_t at) { return number(b, at, 8); }

// The zip64 record of an extra field has those of size, packed size and offset that do not fit their own fields.
void widen(Bytes extra, bool size, bool packed, bool offset, ZipExtent& e) {
  for (size_t i = 0; i + 4 <= extra.size(); i += 4 + u16(extra, i + 2)) {
    if (u16(extra, i) != 1) continue;
    Bytes record = extra.subspan(i + 4, std::min<size_t>(u16(extra, i + 2), extra.size() - i - 4));
    const auto take = [&](bool wanted, uint64_t& value) {
      if (!wanted || record.size() < 8) return;
      value = u64(record, 0);
      record = record.subspan(8);
    };
    take(size, e.size);
    take(packed, e.packed);
    take(offset, e.offset);
    return;
  }
}

std::optional<std::vector<ZipExtent>> parse(Bytes directory, uint64_t count) {
  std::vector<ZipExtent> extents;
  for (size_t i = 0; extents.size() < count;) {
    if (directory.size() - i < header_size || u32(directory, i) != 0x02014b50) return {};
    const Bytes header = directory.subspan(i);
    const size_t name = u16(header, 28), extra = u16(header, 30), comment = u16(header, 32);
    if (header.size() < header_size + name + extra + comment) return {};
    const auto* const text = reinterpret_cast<const char*>(header.data()) + header_size;
    ZipExtent e{.offset = u32(header, 42),
                .packed = u32(header, 20),
                .size = u32(header, 24),
                .plain = u16(header, 10) == 0 && u16(header, 8) % 2 == 0,
                .name = {text, name},
                .deflated = u16(header, 10) == 8 && u16(header, 8) % 2 == 0,
                .checksum = uint32_t(u32(header, 16))};
    widen(header.subspan(header_size + name, extra), u32(header, 24) == full32, e.packed == full32, e.offset == full32,
          e);
    e.at_least = local_size + name + e.packed;
    if (e.at_least < e.packed || e.offset + e.at_least < e.offset) return {};
    extents.push_back(e);
    i += header_size + name + extra + comment;
  }
  return extents;
}

}  // namespace

std::vector<ZipExtent> zip_extents(const ReadAt& read, uint64_t size, std::optional<uint64_t> count) {
  const uint64_t tail_size = std::min<uint64_t>(size, end_size + full16), tail_at = size - tail_size;
  const auto bytes = read(tail_at, tail_size);
  const Bytes tail = bytes;
  for (size_t i = tail.size() - std::min(tail.size(), end_size) + 1; i-- > 0;) {
    if (tail.size() - i < end_size || u32(tail, i) != 0x06054b50) continue;
    uint64_t entries = u16(tail, i + 10), length = u32(tail, i + 12), start = u32(tail, i + 16);
    if (i >= locator_size && u32(tail, i - locator_size) == 0x07064b50 &&
        (entries == full16 || length == full32 || start == full32)) {
      const auto end64 = read(u64(tail, i - locator_size + 8), end64_size);
      if (end64.size() < end64_size || u32(end64, 0) != 0x06064b50) continue;
      entries = u64(end64, 32), length = u64(end64, 40), start = u64(end64, 48);
    }
    if ((count && entries != *count) || length > size || start > size - length) continue;
    if (auto extents = parse(read(start, length), entries)) return *extents;
  }
  return {};
}

std::optional<uint64_t> zip_data(const ReadAt& read, const ZipExtent& entry) {
  const auto header = read(entry.offset, local_size);
  if (header.size() < local_size || u32(header, 0) != 0x04034b50) return {};
  return entry.offset + local_size + u16(header, 26) + u16(header, 28);
}

std::vector<bool> overlapping(const std::vector<ZipExtent>& extents) {
  std::vector<size_t> order(extents.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) { return extents[i].offset; });
  std::vector<bool> result(extents.size());
  uint64_t end = 0;
  size_t holder = 0;  // of the byte before `end`
  for (const size_t i : order) {
    if (extents[i].offset < end) result[i] = result[holder] = true;
    if (extents[i].offset + extents[i].at_least > end) {
      end = extents[i].offset + extents[i].at_least;
      holder = i;
    }
  }
  return result;
}

}  // namespace firn
