// System calls and allocations that fail, one at a time (tests/faults): an error in one line, and the old snapshot or
// the new one whole.
#include "tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

std::string preloaded(const char* library) {
  return fmt::format(
      "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 "
      "LD_PRELOAD='{}/{}' ",
      FIRN_BINARY_DIR, library);
}

struct Fault {
  const char* call;
  const char* error;
  bool refused = true;  // the save cannot do without such a call
  const char* which = "";
};

std::string name_of(const testing::TestParamInfo<Fault>& info) {
  std::string name = fmt::format("{}_{}{}", info.param.call, info.param.error, info.param.which);
  std::ranges::replace(name, ' ', '_');
  return name;
}

struct OneSave : testing::TestWithParam<Fault> {};

TEST_P(OneSave, UnderAFaultLeavesTheOldSnapshotOrTheNewOneWhole) {
  const Fault& fault = GetParam();
#ifdef __SANITIZE_ADDRESS__
  if (fault.call == std::string_view("malloc")) GTEST_SKIP() << "AddressSanitizer has an allocator of its own";
#endif
  const Scratch scratch;
  const Ran ran =
      shell(fmt::format("{} '{}' '{}' {} {} {}", preloaded("libfirn_faults.so"), tool_path("firn_save_faults"),
                        scratch.path().string(), fault.call, fault.error, fault.which));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, " 0 wrong");
  EXPECT_EQ(ran.output.find(" 0 refused") == std::string::npos, fault.refused) << ran.output;
  EXPECT_EQ(ran.output.find(": 0 calls"), std::string::npos) << ran.output;
}

INSTANTIATE_TEST_SUITE_P(Calls, OneSave,
                         testing::Values(Fault{"open", "EMFILE"}, Fault{"read", "EIO"}, Fault{"read", "EINTR", false},
                                         Fault{"read", "short", false}, Fault{"write", "ENOSPC"}, Fault{"write", "EIO"},
                                         Fault{"write", "EINTR", false}, Fault{"write", "short", false},
                                         Fault{"sync", "EIO"}, Fault{"sync", "EINTR", false}, Fault{"rename", "EIO"},
                                         Fault{"link", "EPERM", false}, Fault{"unlink", "EIO", false},
                                         Fault{"close", "EIO"}, Fault{"list", "EIO", false}),
                         name_of);

}  // namespace
}  // namespace firn
