// What log.txt alone tells: how a run ended, and what was frozen.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

// The table of one network (models/freeze.h), as the run showed it.
struct FrozenNetwork {
  std::string role;               // "D"
  std::vector<std::string> rows;  // a tensor each
  int64_t total = 0, frozen = 0;  // numbers
  double backward_removed = 0;    // percent

  std::string frozen_parts() const;  // "block1, block2, part of block3"
};

enum class RunEnd { none, done, stopped, failed };

struct LogRecord {
  RunEnd end = RunEnd::none;          // none: under way, or killed
  std::string last_words;             // of a run that failed
  std::vector<FrozenNetwork> frozen;  // of networks with something frozen
};

LogRecord read_log(std::string_view text);

}  // namespace firn
