// Helpers of the io tests: a scratch folder that removes itself, the message of an expected Error, and small images.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "io/images.h"

namespace firn {

class Scratch {
 public:
  Scratch() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() / fmt::format("firn-test-{}-{}", ::getpid(), counter++);
    std::filesystem::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  size_t count() const {
    return size_t(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator{}));
  }

 private:
  std::filesystem::path path_;
};

template <class Kind = IoError>
std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Kind& e) {
    return e.what();
  }
  return "no error";
}

inline void put(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}
inline void put(const std::filesystem::path& path, std::string_view text) { put(path, std::as_bytes(std::span(text))); }

inline std::vector<std::byte> without_end(const std::vector<std::byte>& bytes, std::ptrdiff_t count) {
  return {bytes.begin(), bytes.end() - count};
}

// Every pixel of every `seed` differs from its neighbours.
inline Image pattern(int width, int height, int channels, int seed = 0) {
  Image image(width, height, channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = uint8_t(i * 37 + size_t(seed) * 101 + i / 7);
  return image;
}

#define EXPECT_MENTIONS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

}  // namespace firn
