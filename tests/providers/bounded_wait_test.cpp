// What FIRN_BOUNDED_WAITS compiles into a kernel that waits, and nothing else does.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/io/io_support.h"
#include "tests/ptx/runtime.h"

namespace firn::providers {
namespace {

TEST(BoundedWaits, NameKernelAndBarrierAndTrap) {
  std::stringstream bounded;
  bounded << std::ifstream(FIRN_BOUNDED_PTX).rdbuf();
  const auto spelled = [](const char* text) {  // as nvcc writes a string
    std::string bytes;
    for (; *text; ++text) bytes += fmt::format("{}{}", bytes.empty() ? "" : ", ", int(*text));
    return bytes;
  };
  EXPECT_MENTIONS(bounded.str(), "trap;");
  EXPECT_MENTIONS(bounded.str(), "vprintf");
  for (const char* name : {"modulated_conv_sm90", "full", "empty", "waits in vain for"})
    EXPECT_MENTIONS(bounded.str(), spelled(name));
  for (const std::string& text : ptx::texts("sm_90a")) {
    EXPECT_EQ(text.find("trap;"), text.npos);
    EXPECT_EQ(text.find("vprintf"), text.npos);
  }
}

}  // namespace
}  // namespace firn::providers
