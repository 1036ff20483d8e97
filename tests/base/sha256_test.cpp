#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string_view>

namespace firn {
namespace {

std::string sha256(std::string_view text, size_t piece = 1000) {
  Sha256 hash;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size())))
    hash.add(std::as_bytes(std::span(text.substr(0, piece))));
  return hash.hex();
}

TEST(Sha256, TheStandardsExamples) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, ItDoesNotMatterHowTheBytesAreCut) {
  const std::string text(300, 'x');
  for (size_t n = 50; n < 140; ++n)
    for (const size_t piece : {1, 7, 63, 64, 65})
      EXPECT_EQ(sha256(text.substr(0, n), piece), sha256(text.substr(0, n))) << n << " " << piece;
}

}  // namespace
}  // namespace firn
