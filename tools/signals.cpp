#include "tools/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "engine/communicator.h"
#include "io/files.h"

namespace firn::tools {
namespace {

constexpr int stop_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

[[noreturn]] void end_by(int signal) {
  remove_unfinished();
  ::signal(signal, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  raise(signal);
  _exit(128 + signal);  // the first process of a container is not ended by a signal of its own
}

}  // namespace

StopRequest::StopRequest(const char* tool) : tool_(tool) {
  sigemptyset(&signals_);
  int count = 0;
  for (const int signal : stop_signals) {  // a blocked signal is queued even where it is ignored
    struct sigaction now = {};
    if (sigaction(signal, nullptr, &now) != 0 || now.sa_handler == SIG_IGN) continue;
    sigaddset(&signals_, signal);
    ++count;
  }
  pthread_sigmask(SIG_BLOCK, &signals_, &mask_before_);
  if (count > 0) thread_ = std::thread([this] { take(); });
}

StopRequest::~StopRequest() {
  over_ = true;
  if (thread_.joinable()) {
    for (const int signal : stop_signals)
      if (sigismember(&signals_, signal)) pthread_kill(thread_.native_handle(), signal);  // wakes it, and only it
    thread_.join();
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

void StopRequest::take() {
  for (int signal = 0;;) {
    if (sigwait(&signals_, &signal) != 0) continue;
    if (over_) return;
    // A terminal that closes hangs up twice, by the kernel and by the shell; a session's manager adds SIGTERM.
    // A launcher sends what it got once more, and ends its processes itself where they take too long.
    const bool hangs_up = signal == SIGHUP || signal_ == SIGHUP, launched = rank_by_launcher() >= 0;
    if (!note_first_ || (signal_ != 0 && !hangs_up && !launched)) end_by(signal);
    if (signal_ != 0 && (signal == SIGHUP || launched)) continue;
    signal_ = signal;
    if (rank_by_launcher() > 0) continue;  // process 0 says it
    char line[200];                        // nothing is allocated here: it must not fail
    const int size =
        std::snprintf(line, sizeof line, "%s%s: %s: saving and leaving%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                      tool_, strsignal(signal), launched ? "" : "; once more ends it at once");
    [[maybe_unused]] const ssize_t shown = ::write(STDERR_FILENO, line, size_t(size));
  }
}

}  // namespace firn::tools
