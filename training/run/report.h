// What one tick reports: the same numbers to the console, stats.jsonl and TensorBoard.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "training/step/iteration.h"

namespace firn {

struct TickClock {
  double total = 0, tick = 0, maintenance = 0;  // seconds
  int64_t images = 0;                           // in this tick
  Flops flops{};                                // in this tick
  double limit = 0;                             // FLOP/s of this machine at most; 0: nobody knows
  double sent = 0;                              // bytes in an iteration, by each of several processes
};

// The tick's running means with Progress/*, Timing/* and Resources/* added under stylegan2-ada-pytorch's names.
Stats tick_stats(const TrainState& state, Iteration& iteration, const TickClock& clock);

std::string tick_line(const Stats& stats, const TrainOptions& options);
nlohmann::json stats_record(const Stats& stats);  // {name: {num, mean, std}, ..., timestamp}
std::string duration(double seconds);             // "1h 02m", "3m 05s", "12s"

struct ProcessMemory {
  double gb = 0, peak_gb = 0;
};
ProcessMemory process_memory();

}  // namespace firn
