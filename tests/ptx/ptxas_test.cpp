// What the assembler makes of the kernels: registers, shared memory, and no spills.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/ptx/runtime.h"
#include "tests/tools/tools_support.h"

namespace firn {
namespace {

struct Resources {
  std::string kernel;
  int registers = 0, shared = 0, spilled = 0, stack = 0;
  int threads = 0, blocks_at_once = 0;
  bool hands_on = false;  // registers, from one warpgroup to another
};

// "ptxas -v" says of each kernel: Compiling entry function 'NAME' ...; N bytes stack frame, N bytes spill stores, N
// bytes spill loads; Used N registers, ..., N bytes smem.
std::vector<Resources> assemble(const std::string& ptx, const char* arch) {
  const Scratch scratch;
  const std::filesystem::path source = scratch / "kernels.ptx";
  std::ofstream(source) << ptx;
  const Ran ran = shell(fmt::format("'{}' -v -arch={} -o /dev/null '{}'", FIRN_PTXAS, arch, source.string()));
  EXPECT_EQ(ran.code, 0) << ran.output;
  // Of wgmma that wait for each other, and of a number of registers that is ignored.
  EXPECT_EQ(ran.output.find("Performance Loss"), std::string::npos) << ran.output;
  EXPECT_EQ(ran.output.find("setmaxnreg"), std::string::npos) << ran.output;
  std::vector<Resources> all;
  std::smatch m;
  std::istringstream lines(ran.output);
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, m, std::regex("Compiling entry function '([^']+)'"))) {
      all.push_back({.kernel = m[1], .threads = 256, .blocks_at_once = 2});
      const size_t entry = ptx.find(".entry " + all.back().kernel + "(");
      const std::string header = ptx.substr(entry, ptx.find('{', entry) - entry);
      all.back().hands_on = ptx.find("setmaxnreg", entry) < ptx.find(".entry ", entry + 1);
      if (std::regex_search(header, m, std::regex("\\.maxntid (\\d+)"))) all.back().threads = std::stoi(m[1]);
      if (std::regex_search(header, m, std::regex("\\.minnctapersm (\\d+)")))
        all.back().blocks_at_once = std::stoi(m[1]);
    }
    if (all.empty()) continue;
    if (std::regex_search(line, m, std::regex("(\\d+) bytes spill stores, (\\d+) bytes spill loads")))
      all.back().spilled += std::stoi(m[1]) + std::stoi(m[2]);
    if (std::regex_search(line, m, std::regex("(\\d+) bytes stack frame"))) all.back().stack = std::stoi(m[1]);
    if (std::regex_search(line, m, std::regex("Used (\\d+) registers"))) all.back().registers = std::stoi(m[1]);
    if (std::regex_search(line, m, std::regex("(\\d+) bytes smem"))) all.back().shared = std::stoi(m[1]);
  }
  return all;
}

class PtxasTest : public testing::TestWithParam<const char*> {};

TEST_P(PtxasTest, KernelsFitWithoutSpilling) {
  constexpr int register_file = 65536, shared_by_default = 48 << 10;
  const bool own = GetParam() == std::string("sm_90a");
  size_t kernels = 0, entries = 0;
  for (const std::string& text : ptx::texts(own ? "sm_90a" : "sm_80")) {
    for (size_t at = 0; (at = text.find(".entry ", at)) != text.npos; ++at) ++entries;
    for (const Resources& r : assemble(text, GetParam())) {
      // A division of doubles is a subroutine, around which registers are saved; double is for checking gradients only.
      const bool in_double = r.kernel.find("Id") != std::string::npos;
      EXPECT_TRUE(in_double || r.spilled == 0) << r.kernel << " spills " << r.spilled << " bytes";
      // An array whose index is not known ahead lies in memory, which is as slow as a spill where it holds sums.
      EXPECT_TRUE(r.kernel.find("tile_kernel") == std::string::npos || r.stack == 0) << r.kernel << " uses a stack";
      EXPECT_GT(r.registers, 0) << r.kernel;
      EXPECT_LE(r.registers * r.threads * r.blocks_at_once, register_file)
          << r.kernel << ": not so many blocks at once";
      EXPECT_LE(r.shared, shared_by_default) << r.kernel;
      // Its warpgroups hand on what the interpreter takes them to have at the start (Function::thread_registers).
      EXPECT_TRUE(!r.hands_on || r.registers == register_file / (r.threads * r.blocks_at_once) / 8 * 8)
          << r.kernel << " has " << r.registers << " registers";
      ++kernels;
    }
  }
  EXPECT_EQ(kernels, entries);
  EXPECT_GT(kernels, 100u);
}

INSTANTIATE_TEST_SUITE_P(Ptx, PtxasTest, testing::Values("sm_80", "sm_90a", FIRN_NEWEST_GPU),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace firn
