// FNV-1a in 64 bits, which files may keep: tells apart what is not made to collide.
#pragma once
#include <cstdint>
#include <string_view>

namespace firn {

constexpr uint64_t empty_hash = 0xcbf29ce484222325;

// Of `text` behind what `before` is the hash of.
constexpr uint64_t hash_of(std::string_view text, uint64_t before = empty_hash) {
  for (const char c : text) before = (before ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return before;
}

}  // namespace firn
