// How far a tool is, on stderr: on a terminal a line that rewrites itself, elsewhere one now and then.
#pragma once
#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

#include "training/report.h"

namespace firn::tools {

class Progress {
 public:
  explicit Progress(int64_t total) : total_(total) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step() {  // one more image; from any thread
    const std::lock_guard lock(mutex_);
    ++done_;
    const auto now = Clock::now();
    if (done_ == total_ || now - last_ < (terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(30)))
      return;
    last_ = now;
    shown_ = terminal_;
    const double speed = double(done_) / std::chrono::duration<double>(now - began_).count();
    const std::string line =
        fmt::format("{}{}/{} images  {:.1f} img/s  eta {}{}", terminal_ ? "\r\033[K" : "", done_, total_, speed,
                    duration(double(total_ - done_) / speed), terminal_ ? "" : "\n");
    std::fputs(line.c_str(), stderr);  // print() would throw where stderr is full
    std::fflush(stderr);
  }

  void clear() {
    if (std::exchange(shown_, false)) std::fputs("\r\033[K", stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::mutex mutex_;
  const int64_t total_;
  int64_t done_ = 0;
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  Clock::time_point began_ = Clock::now(), last_ = began_;
};

}  // namespace firn::tools
