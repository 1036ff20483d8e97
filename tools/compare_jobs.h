// Runs of gan-train as processes, some side by side; each goes on where it was broken off.
#pragma once
#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace firn::tools {

struct Job {
  std::string name;
  std::filesystem::path folder;  // of its run folder and console.txt
  std::vector<std::string> arguments;
};

// The run folder in a job's folder; empty: none yet.
std::filesystem::path run_of(const std::filesystem::path& folder);
bool finished(const std::filesystem::path& folder);

struct JobRules {
  int at_once = 1, threads = 0;  // threads of each; 0: gan-train's choice
  const std::atomic<int>* stop = nullptr;
  std::function<void(const std::string&)> say, show;  // a line for good; a line for now
};

// Those that failed, with the last line that they wrote. Finished jobs are not run again. ConfigError for a job that
// was begun with other arguments. When `stop` is set, processes are told to save and leave, and are waited for.
std::vector<std::string> run_jobs(const std::vector<Job>& jobs, const JobRules& rules);

// Runs a program that lies beside this one and waits; what it says is added to `console`. IoError with its last line
// when it fails.
void run_beside(const std::string& program, const std::vector<std::string>& arguments,
                const std::filesystem::path& console);

}  // namespace firn::tools
