#include "training/run/report.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "kernels/device/memory.h"

namespace firn {

constexpr double gigabyte = 1 << 30;

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    double kilobytes = 0;
    if (key == "VmRSS:" && status >> kilobytes) memory.gb = kilobytes * 1024 / gigabyte;
    if (key == "VmHWM:" && status >> kilobytes) memory.peak_gb = kilobytes * 1024 / gigabyte;
  }
  return memory;
}

Stats tick_stats(const TrainState& state, Iteration& iteration, const TickClock& clock) {
  Stats s = state.stats.read();
  const Counters& c = state.counters;
  s["Progress/tick"].add(double(c.tick));
  s["Progress/kimg"].add(double(c.images) / 1000);
  s["Progress/iteration"].add(double(c.iteration));
  for (const auto& [name, value] : state.scalars)
    if (name == "augment_p") s["Progress/augment"].add(value.item());
  s["Loss/repaired_gradients"].add(double(c.repaired));
  s["Timing/total_sec"].add(clock.total);
  s["Timing/total_hours"].add(clock.total / 3600);
  s["Timing/total_days"].add(clock.total / 86400);
  s["Timing/sec_per_tick"].add(clock.tick);
  s["Timing/sec_per_kimg"].add(clock.tick / double(clock.images) * 1000);
  s["Timing/images_per_sec"].add(double(clock.images) / clock.tick);
  s["Timing/maintenance_sec"].add(clock.maintenance);
  for (const Iteration::Timing& t : iteration.timings())
    if (t.runs > 0 && !t.over) s["Timing/" + t.name].add(t.last);
  if (clock.limit > 0) {
    s["Resources/sol"].add(clock.flops.done / clock.tick / clock.limit);
    s["Resources/sol_direct"].add(clock.flops.direct / clock.tick / clock.limit);
  }
  if (clock.sent > 0) s["Resources/sent_mb"].add(clock.sent / 1e6);
  const kernels::MemoryUse tensors = kernels::memory_use();
  s["Resources/cpu_mem_gb"].add(process_memory().gb);
  s[state.device().is_cuda() ? "Resources/peak_gpu_mem_gb" : "Resources/peak_tensor_gb"].add(double(tensors.peak) /
                                                                                             gigabyte);
  return s;
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto s = int64_t(std::llround(std::max(seconds, 0.0)));
  if (s >= 86400) return fmt::format("{}d {:02}h", s / 86400, s / 3600 % 24);
  if (s >= 3600) return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
  return s >= 60 ? fmt::format("{}m {:02}s", s / 60, s % 60) : fmt::format("{}s", s);
}

std::string tick_line(const Stats& s, const TrainOptions& o) {
  const auto get = [&](const char* name) { return mean_of(s, name); };
  const double kimg = get("Progress/kimg"), speed = get("Timing/images_per_sec");
  std::string line = fmt::format("tick {:<5.0f} kimg {:.1f}/{:g}  {:.1f} img/s  eta {}  G {:.3f}", get("Progress/tick"),
                                 kimg, o.kimg, speed, duration((o.kimg - kimg) * 1000 / speed), get("Loss/G/loss"));
  if (s.contains("Loss/D/loss"))
    line += fmt::format("  D {:.3f}  D(real) {:+.3f}  D(fake) {:+.3f}", get("Loss/D/loss"), get("Loss/scores/real"),
                        get("Loss/scores/fake"));
  if (s.contains("Loss/r1_penalty")) line += fmt::format("  R1 {:.4g}", get("Loss/r1_penalty"));
  if (s.contains("Loss/path_length")) line += fmt::format("  path {:.3g}", get("Loss/path_length"));
  if (s.contains("Progress/augment")) line += fmt::format("  p {:.4f}", get("Progress/augment"));
  if (s.contains("Loss/signs/real")) line += fmt::format("  sign {:+.3f}", get("Loss/signs/real"));
  if (s.contains("Resources/sol"))
    line += fmt::format("  sol {:.2f} (direct {:.2f})", get("Resources/sol"), get("Resources/sol_direct"));
  line += "  ms";
  for (const auto& [name, stat] : s)
    if (constexpr std::string_view timing = "Timing/"; name.starts_with(timing) && name.find('_') == name.npos)
      line += fmt::format(" {} {:.1f}", name.substr(timing.size()), stat.mean());
  const bool cuda = s.contains("Resources/peak_gpu_mem_gb");
  line += fmt::format("  mem {:.2f} GB, {} {:.2f} GB", get("Resources/cpu_mem_gb"), cuda ? "gpu" : "tensors",
                      get(cuda ? "Resources/peak_gpu_mem_gb" : "Resources/peak_tensor_gb"));
  if (s.contains("Resources/sent_mb")) line += fmt::format("  sent {:.1f} MB", get("Resources/sent_mb"));
  if (get("Loss/repaired_gradients") > 0) line += fmt::format("  repaired {:.0f}", get("Loss/repaired_gradients"));
  return line;
}

nlohmann::json stats_record(const Stats& stats) {
  nlohmann::json record = nlohmann::json::object();
  for (const auto& [name, s] : stats) record[name] = {{"num", s.finite}, {"mean", s.mean()}, {"std", s.deviation()}};
  record["timestamp"] = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return record;
}

}  // namespace firn
