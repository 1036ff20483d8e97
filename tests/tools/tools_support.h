// Runs a tool as a user would and keeps what it said.
#pragma once
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "tests/training/training_support.h"

namespace firn {

struct Ran {
  int code = -1;
  std::string output;  // stdout and stderr
  int lines() const { return int(std::ranges::count(output, '\n')); }
};

inline Ran shell(const std::string& command) {
  Ran ran;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return ran;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) ran.output.append(buffer, n);
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

// Whether tools of this build can run under a limit of address space: sanitizers and CUDA reserve far more than they
// use.
inline bool runs_under_limits() {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return shell("ulimit -v 260000; '" + std::string(FIRN_BINARY_DIR) + "/gan-sample' --help").code == 0;
#endif
}

inline std::string tool_path(const std::string& name) { return std::string(FIRN_BINARY_DIR) + "/" + name; }

// Without spinning threads: tests share their cores.
inline Ran tool(const std::string& name, const std::string& arguments) {
  return shell("OMP_WAIT_POLICY=passive '" + tool_path(name) + "' " + arguments);
}

// A tool in a process of its own, silent; stop requests but `ignored` are as a terminal would have them.
inline pid_t start(const std::string& name, const std::string& arguments, int ignored = 0) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, signal == ignored ? SIG_IGN : SIG_DFL);
  execl("/bin/sh", "sh", "-c", ("exec '" + tool_path(name) + "' " + arguments + " > /dev/null 2>&1").c_str(), nullptr);
  _exit(127);
}

inline int wait_for(pid_t child) {  // its exit code
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Options of a run that takes a second: 8 images an iteration, 16 iterations.
inline std::string tiny_train(const Scratch& scratch, const std::string& more = {}) {
  return fmt::format(
      "--outdir '{0}/runs' --data '{0}/data' --cfg small --cbase 64 --cmax 8 --z-dim 8 --w-dim 8 --map-depth 1 --batch "
      "8 --kimg 0.128 "
      "--tick 0.032 --snap 1 --grid 2x2 --precision fp32 --threads 1 --metrics none {1}",
      scratch.path().string(), more);
}

}  // namespace firn
