// The idx format of MNIST and its relatives: big-endian sizes, then bytes; plain or gzipped. Only unsigned bytes are
// read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "io/images.h"

namespace firn {

struct IdxArray {
  std::vector<int64_t> shape;  // [n, height, width] for images, [n] for labels
  std::vector<uint8_t> values;
};

IdxArray parse_idx(std::span<const std::byte> bytes, std::string_view name);
IdxArray read_idx(const std::filesystem::path& path);

// Image `i` of an [n, h, w] array in grey, centred on a black square of `size` a side (0: as stored).
Image idx_image(const IdxArray& images, int64_t i, int size = 0);

}  // namespace firn
