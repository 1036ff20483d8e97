// Where the entries of a zip lie, which libzip does not tell: two that share bytes are a bomb, or damage.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace firn {

struct ZipExtent {
  uint64_t offset = 0;    // of the local header
  uint64_t packed = 0;    // bytes of data
  uint64_t at_least = 0;  // bytes that header, name and data take
  uint64_t size = 0;      // bytes when unpacked
  bool plain = false;     // neither packed nor encrypted
  std::string name{};
  bool deflated = false;  // and not encrypted
  uint32_t checksum = 0;  // CRC-32 of what is unpacked
};

using ReadAt = std::function<std::vector<std::byte>(uint64_t offset, uint64_t count)>;  // fewer only at the end

// In the order of the central directory, or nothing where there is none, or none that holds `count` entries.
std::vector<ZipExtent> zip_extents(const ReadAt& read, uint64_t size, std::optional<uint64_t> count = {});

// Where its data begin; nothing where there is no entry.
std::optional<uint64_t> zip_data(const ReadAt& read, const ZipExtent& entry);

// One for each entry: whether it begins inside another one, or another one inside it.
std::vector<bool> overlapping(const std::vector<ZipExtent>& extents);

}  // namespace firn
