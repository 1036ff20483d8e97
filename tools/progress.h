// A line that rewrites itself while a tool is at work and a terminal shows it.
#pragma once
#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <utility>

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
    if (!terminal_ || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    shown_ = true;
    const double speed = double(done_) / std::chrono::duration<double>(now - began_).count();
    fmt::print(stderr, "\r\033[K{}/{} images  {:.1f} img/s  eta {:.0f} s", done_, total_, speed,
               double(total_ - done_) / speed);
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
