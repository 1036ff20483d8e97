// firn_power_cuts RECORD ROOT [SHARE FOLDER]: judges every outcome of a power cut; writes every SHARE-th into
// FOLDER/NUMBER, for programs to be tried on.
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "power_cut.h"

namespace fs = std::filesystem;
using namespace firn;

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 5) throw ConfigError("expected RECORD ROOT [SHARE FOLDER]");
  const fs::path root = argv[2];
  const int64_t share = argc == 5 ? std::max(1l, std::atol(argv[3])) : 0;
  const auto verdict = faults::judge(faults::read_operations(argv[1]), root,
                                     [&](int64_t number, const faults::Names& names, faults::Unsynced data) {
                                       if (share == 0 || number % share != 0) return;
                                       const fs::path folder = fs::path(argv[4]) / std::to_string(number);
                                       fs::create_directories(folder);
                                       for (const auto& [path, file] : names) {
                                         const fs::path to = folder / path.lexically_relative(root);
                                         if (file)
                                           std::ofstream(to, std::ios::binary) << content(*file, data);
                                         else
                                           fs::create_directories(to);
                                       }
                                     });
  fmt::print("{} {} {}\n{}", verdict.cuts, verdict.outcomes, verdict.wrong,
             verdict.first.empty() ? "" : verdict.first + "\n");
  return verdict.wrong > 0 ? 1 : 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "firn_power_cuts: {}\n", e.what());
  return 2;
}
