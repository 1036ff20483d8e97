#include "tools/compare_jobs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include "training/run/report.h"

namespace firn::tools {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Of what a process has written: the last line that says something.
std::string last_line(const fs::path& console) {
  std::error_code none;
  if (!fs::exists(console, none)) return {};
  const std::string text = read_text(console);
  size_t end = text.find_last_not_of("\n\r ");
  if (end == text.npos) return {};
  const size_t begin = text.find_last_of("\n\r", end);
  return printable(text.substr(begin == text.npos ? 0 : begin + 1, end - (begin == text.npos ? -1 : begin)), 300);
}

// With nothing to read and all output in a file; it does not outlive this process.
pid_t start(const fs::path& program, const std::vector<std::string>& arguments, const fs::path& console) {
  const int out = open(console.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (out < 0) throw IoError(fmt::format("cannot write {}: {}", console.string(), std::strerror(errno)));
  std::vector<std::string> all = {program.string()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    sigset_t no_signals;
    sigemptyset(&no_signals);
    sigprocmask(SIG_SETMASK, &no_signals, nullptr);
    setpgid(0, 0);  // Ctrl-C comes to us, who pass it on
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    const int in = open("/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(out);
  if (child < 0) throw SystemError(fmt::format("cannot start {}: {}", program.string(), std::strerror(errno)));
  return child;
}

fs::path beside(const std::string& program) { return fs::read_symlink("/proc/self/exe").parent_path() / program; }

struct Running {
  const Job* job;
  pid_t pid;
  Clock::time_point began;
};

// A process whose parent was killed is still saving.
void wait_until_free(const fs::path& run) {
  for (int tries = 0; tries < 60; ++tries) try {
      const DirectoryLock mine(run);
      return;
    } catch (const Error&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
}

// What a process without a last word came to.
std::string ending(int status) {
  if (WIFSIGNALED(status)) return fmt::format("it was killed by signal {}", WTERMSIG(status));
  return fmt::format("it ended with code {} and said nothing; is the disk full?", WEXITSTATUS(status));
}

// What a job was begun with; threads may change.
void check_arguments(const Job& job) {
  const fs::path path = job.folder / "arguments.json";
  const std::string wanted = nlohmann::json(job.arguments).dump(1) + "\n";
  std::error_code none;
  if (fs::exists(path, none) && !run_of(job.folder).empty()) {
    if (read_text(path) != wanted)
      throw ConfigError(
          fmt::format("{} was begun with other options than the plan has now; take another --out, or "
                      "remove that folder",
                      job.folder.string()));
    return;
  }
  make_directories(job.folder);
  write_text(path, wanted);
}

}  // namespace

fs::path run_of(const fs::path& folder) {
  std::error_code none;
  fs::path found;
  for (const fs::path& path : entries_of(folder, none))
    if (const std::string name = path.filename().string();
        fs::is_directory(path, none) && name.size() == 9 && name.ends_with("-run") &&
        std::all_of(name.begin(), name.begin() + 5, [](char c) { return c >= '0' && c <= '9'; }))
      found = path;
  return found;
}

bool finished(const fs::path& folder) {
  std::error_code none;
  const fs::path run = run_of(folder);
  return !run.empty() && fs::exists(run / "summary.json", none);
}

std::vector<std::string> run_jobs(const std::vector<Job>& jobs, const JobRules& rules) {
  std::vector<const Job*> waiting;
  for (const Job& job : jobs) {
    check_arguments(job);
    if (!finished(job.folder)) waiting.push_back(&job);
  }
  size_t done = jobs.size() - waiting.size();
  const size_t to_do = waiting.size();
  std::ranges::reverse(waiting);
  std::vector<Running> running;
  std::vector<std::string> failed;
  const Clock::time_point began = Clock::now();
  Clock::time_point shown = began;
  bool told = false;
  while (!running.empty() || !waiting.empty()) {
    const bool stopping = rules.stop && *rules.stop;
    if (stopping) waiting.clear();
    if (stopping && !std::exchange(told, true))
      for (const Running& r : running) kill(r.pid, SIGTERM);
    while (!waiting.empty() && int(running.size()) < rules.at_once) {
      const Job* job = waiting.back();
      waiting.pop_back();
      std::error_code none;
      const fs::path run = run_of(job->folder);
      std::vector<std::string> arguments = {"--outdir", job->folder.string()};
      if (!run.empty() && fs::exists(run / "snapshot-latest.safetensors", none)) {
        wait_until_free(run);
        arguments.insert(arguments.end(), {"--resume", "latest"});
      } else {
        arguments.insert(arguments.end(), {"--run-name", "run"});
        arguments.insert(arguments.end(), job->arguments.begin(), job->arguments.end());
      }
      if (rules.threads > 0) arguments.insert(arguments.end(), {"--threads", std::to_string(rules.threads)});
      running.push_back({job, start(beside("gan-train"), arguments, job->folder / "console.txt"), Clock::now()});
    }
    for (size_t i = 0; i < running.size();) {
      int status = 0;
      if (waitpid(running[i].pid, &status, WNOHANG) == 0) {
        ++i;
        continue;
      }
      const Running r = running[i];
      running.erase(running.begin() + std::ptrdiff_t(i));
      const double seconds = std::chrono::duration<double>(Clock::now() - r.began).count();
      const std::string last = last_line(r.job->folder / "console.txt");
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !run_of(r.job->folder).empty()) {
        ++done;
        const double each = std::chrono::duration<double>(Clock::now() - began).count() /
                            double(to_do - waiting.size() - running.size());
        rules.say(fmt::format("{}/{} {}: {}{}", done, jobs.size(), r.job->name, duration(seconds),
                              waiting.empty() && running.empty()
                                  ? ""
                                  : fmt::format(", eta {}", duration(each * double(waiting.size() + running.size())))));
      } else if (!stopping) {
        failed.push_back(fmt::format("{}: {}", r.job->name, last.empty() ? ending(status) : last));
        rules.say("failed: " + failed.back());
      }
    }
    if (running.empty()) continue;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (Clock::now() - shown < std::chrono::seconds(2)) continue;
    shown = Clock::now();
    const Job& job = *running.front().job;
    rules.show(fmt::format("{}/{} done; {}: {}", done, jobs.size(), job.name, last_line(job.folder / "console.txt")));
  }
  return failed;
}

void run_beside(const std::string& program, const std::vector<std::string>& arguments, const fs::path& console) {
  int status = 0;
  const pid_t pid = start(beside(program), arguments, console);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw IoError(fmt::format("{} failed: {}", program, last_line(console)));
}

}  // namespace firn::tools
