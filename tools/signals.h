// Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 (which schedulers can be told to send some time before), taken by a thread of
// their own: oneDNN's products keep the stack pointer in a malloc'ed workspace, so a handler that ran on a computing
// thread would write over the heap.
#pragma once
#include <signal.h>

#include <atomic>
#include <thread>

namespace firn::tools {

// Make it before any other thread starts, which then never takes these signals; those that were ignored stay ignored
// (nohup, background jobs). A signal ends the process, as if by default, once the temporary files of unfinished writes
// are gone.
class StopRequest {
 public:
  explicit StopRequest(const char* tool);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // From now on the first signal is only noted in signal(), and a line on stderr says so; the second one ends the
  // process, unless either is SIGHUP: those come in pairs. Where a launcher started the process, more are ignored.
  void note_first() { note_first_ = true; }
  const std::atomic<int>& signal() const { return signal_; }  // 0: none yet

 private:
  void take();
  const char* tool_;
  sigset_t signals_, mask_before_;
  std::atomic<int> signal_ = 0;
  std::atomic<bool> note_first_ = false, over_ = false;
  std::thread thread_;
};

}  // namespace firn::tools
