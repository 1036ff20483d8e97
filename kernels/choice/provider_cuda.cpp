#include "kernels/choice/provider_cuda.h"

#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "base/error.h"
#include "kernels/choice/agreement.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/core/cuda_check.h"
#include "kernels/device/device_info.h"
#include "kernels/device/timer.h"

namespace firn::kernels {

namespace {

void wait(const Stream& stream) { check(cudaStreamSynchronize(current(stream))); }

// Runs it and waits, so that a fault is its own.
void run_alone(const Stream& stream, const std::function<void()>& run) {
  const LaunchCounter apart;  // tests that count launches do not see rehearsals
  try {
    run();
  } catch (const DeviceLost&) {
    throw;
  } catch (const DeviceError&) {
    wait(stream);  // a library's error may stand for a lost device
    throw;
  }
  wait(stream);
}

// The least of a few groups: what disturbs a group only makes it slower.
double microseconds(const Stream& stream, const std::function<void()>& run) {
  constexpr int kGroups = 3, kRuns = 3;
  const LaunchCounter apart;
  DeviceTimer stopwatch(stream);
  // A graph will launch it without the host, so the host must be ahead here: the GPU is kept busy meanwhile.
  constexpr size_t kBusy = size_t{32} << 20;
  static std::map<int, void*> kept;
  void*& busy = kept[stream.device];
  if (!busy) busy = allocate(stream, kBusy);
  double least = INFINITY;
  for (int g = 0; g < kGroups; ++g) {
    for (int i = 0; i < 8; ++i) check(cudaMemsetAsync(busy, 0, kBusy, current(stream)));
    stopwatch.start();
    for (int i = 0; i < kRuns; ++i) run();
    least = std::min(least, 1e3 * stopwatch.stop() / kRuns);
  }
  return least;
}

}  // namespace

bool agrees(const Stream& stream, const std::string& what, const Candidate& way, bf16* y, int64_t count,
            const void* expected) {
  // NaN where nothing is written.
  check(cudaMemsetAsync(y, 0xff, sizeof(bf16) * static_cast<size_t>(count), current(stream)));
  run_alone(stream, way.run);
  const LaunchCounter apart;
  if (agree(stream, y, static_cast<const bf16*>(expected), count)) return true;
  std::fputs(  // print() would throw where stderr is full
      fmt::format("warning: {}: \"{}\" computes something else on this GPU, and is not used\n", what, way.name).c_str(),
      stderr);
  return false;
}

size_t cudnn::version() { return cudnnGetVersion(); }

bool is_capturing(const Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(current(stream), &status));
  return status != cudaStreamCaptureStatusNone;
}

Timer timer(const Stream& stream) {
  Timer result{.driver = driver_version(stream), .deterministic = numerics(stream).deterministic};
  if (is_capturing(stream)) return result;
  wait(stream);  // a fault of what came before is not that of what is tried
  result.once = [stream](const std::function<void()>& run) { run_alone(stream, run); };
  result.microseconds = [stream](const std::function<void()>& run) { return microseconds(stream, run); };
  return result;
}

size_t fastest(const Stream& stream, const std::string& what, const Ways& ways) {
  if (stream.dry) return ways.trusted;
  static std::map<std::pair<int, std::string>, size_t> settled;
  const auto place = std::pair(stream.device, what);
  if (const auto known = settled.find(place); known != settled.end()) return known->second;
  const std::string key = fmt::format("{} | {} | cudnn {}", what, device_name(stream), cudnn::version());
  const Timer stopwatch = timer(stream);
  const auto remembered = stopwatch.deterministic ? std::nullopt : choice_cache().find(key);
  std::vector<Candidate> candidates(ways.all.begin(), ways.all.end());
  candidates[ways.trusted].last_resort = true;
  const auto expected = [&] {
    std::shared_ptr<const void> y;
    run_named(choice_cache(), key, candidates[ways.trusted], stopwatch,
              [&] { run_alone(stream, [&] { y = ways.expected(); }); });
    return y;
  };
  for (size_t i = 0; i < candidates.size(); ++i)
    candidates[i].prepare = [&, i] {
      const Candidate& way = ways.all[i];
      const bool known_to_agree = i == ways.trusted || (remembered && remembered->name == way.name);
      try {
        if (!way.prepare()) return false;
        return !stopwatch || known_to_agree || agrees(stream, what, way, ways.y, ways.count, expected().get());
      } catch (const DeviceLost&) {
        throw;
      } catch (const OutOfMemory&) {
        throw;
      } catch (const DeviceError&) {  // what cannot run here
        return false;
      }
    };
  const Chosen chosen = choose(choice_cache(), key, candidates, stopwatch).value();
  if (chosen.settled) settled[place] = chosen.index;
  return chosen.index;
}

std::string driver_version(const Stream& stream) {
  static std::string version;
  if (!version.empty()) return version;
  std::string module;
  std::getline(std::ifstream("/sys/module/nvidia/version"), module);  // finer than what CUDA tells
  return version = "CUDA " + device_info(stream).driver + (module.empty() ? "" : ", ") + module;
}

std::string device_name(const Stream& stream) {
  static std::map<int, std::string> names;
  std::string& name = names[stream.device];
  if (!name.empty()) return name;
  const DeviceInfo info = device_info(stream);
  return name = fmt::format("{} {}", info.name, info.architecture);
}

}  // namespace firn::kernels
