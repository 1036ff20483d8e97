// What a run leaves behind to be read by people and tools: log.txt, stats.jsonl, and a TensorBoard event file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "io/files.h"
#include "io/images.h"

namespace firn {

namespace proto {
class Event;
}

// One TensorBoard file, DIR/events.out.tfevents.*; each record is on its way to the disk when a call returns.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& dir);
  // Readers forget what earlier files say about `step` and later: a run that was killed had gone on after its snapshot.
  void restart(int64_t step);
  void scalar(std::string_view tag, float value, int64_t step);
  void image(std::string_view tag, const Image& image, int64_t step);
  void flush() { file_.sync(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  void append(proto::Event& event);
  std::filesystem::path path_;
  AppendFile file_;
};

class RunLog {
 public:
  // Creates the directory. log.txt and stats.jsonl start empty, or grow after cutting a line torn by a kill. Either way
  // the events go to a new file, as TensorBoard expects.
  RunLog(const std::filesystem::path& run_dir, AppendFile::Start start);
  void text(std::string_view line);          // to log.txt, newline added
  void stats(const nlohmann::json& record);  // one line of stats.jsonl; NaN and infinity become null
  EventFile& events() { return events_; }
  void flush();

 private:
  AppendFile log_, stats_;
  EventFile events_;
};

}  // namespace firn
