// Standard output of a run: lines that log.txt has, too, and one that rewrites itself. Nothing ends when nobody reads.
#pragma once
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/run_log.h"

namespace firn {

class Console {
 public:
  Console(RunLog& log, std::filesystem::path dir) : log_(log), dir_(std::move(dir)) {}
  void say(const std::string& line);
  void show(const std::string& line);  // until the next line
  void clear();
  void note(const std::exception& error);  // to the log alone: whoever catches it tells people

 private:
  void write(std::string_view text);
  void complain_once();
  RunLog& log_;
  std::filesystem::path dir_;  // of the log
  bool open_ = false, failed_ = false;
};

}  // namespace firn
