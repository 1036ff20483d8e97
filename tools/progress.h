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

#include "training/run/report.h"

namespace firn::tools {

// A line on stderr, which a terminal shows in place of the one before.
class Line {
 public:
  Line() = default;
  ~Line() { clear(); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  bool terminal() const { return terminal_; }

  void show(const std::string& text) {
    shown_ = terminal_;
    put((terminal_ ? "\r\033[K" : "") + text + (terminal_ ? "" : "\n"));
  }
  void say(const std::string& text) {  // for good
    clear();
    put(text + "\n");
  }
  void clear() {
    if (std::exchange(shown_, false)) put("\r\033[K");
  }

 private:
  static void put(const std::string& text) {
    std::fputs(text.c_str(), stderr);  // print() would throw where stderr is full
    std::fflush(stderr);
  }
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
};

class Progress {
 public:
  explicit Progress(int64_t total) : total_(total) {}

  void step() {  // one more image; from any thread
    const std::lock_guard lock(mutex_);
    ++done_;
    const auto now = Clock::now();
    if (done_ == total_ || now - last_ < (line_.terminal() ? std::chrono::milliseconds(200) : std::chrono::seconds(30)))
      return;
    last_ = now;
    const double speed = double(done_) / std::chrono::duration<double>(now - began_).count();
    line_.show(fmt::format("{}/{} images  {:.1f} img/s  eta {}", done_, total_, speed,
                           duration(double(total_ - done_) / speed)));
  }

  void clear() { line_.clear(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::mutex mutex_;
  const int64_t total_;
  int64_t done_ = 0;
  Line line_;
  Clock::time_point began_ = Clock::now(), last_ = began_;
};

}  // namespace firn::tools
