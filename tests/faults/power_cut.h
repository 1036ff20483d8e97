// What a power cut may leave of recorded file operations (record.cpp), at every moment: data that was not synced is
// there, gone, cut or zeros; names that were made, renamed or removed since their folder was last synced are kept up to
// any point.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace firn::faults {

struct Operation {
  std::string kind;   // create truncate write sync sync-directory rename link unlink mkdir
  uint64_t file = 0;  // counted from 1; 0: one that was there before
  int64_t offset = 0;
  std::filesystem::path path, to;
  std::string data;
};

std::vector<Operation> read_operations(const std::filesystem::path& record);

struct File {
  std::string now, synced;
};
using Names = std::map<std::filesystem::path, std::shared_ptr<File>>;  // null: a folder

enum class Unsynced { there, gone, cut, zeros };  // what became of data since the file's last fsync
std::string content(const File& file, Unsynced data);

// The machine's memory and its disk.
class Disk {
 public:
  explicit Disk(std::filesystem::path root) : root_(std::move(root)) {}
  void apply(const Operation& operation);
  const Names& names() const { return now_; }
  // Everything that may be found after a cut, each once: names, and what became of data.
  void for_each_outcome(const std::function<void(const Names&, Unsynced)>& look) const;

 private:
  void change(Names& names, const Operation& operation) const;
  std::filesystem::path root_;  // was there before
  std::map<uint64_t, std::shared_ptr<File>> files_;
  Names now_, synced_;
  std::vector<Operation> pending_;  // of names, since their folder was synced
};

// Holds a run's promises against every outcome: snapshots are whole, and what log.txt announced as saved is there.
struct Verdict {
  int64_t cuts = 0, outcomes = 0, wrong = 0;
  std::string first;  // of what went wrong
};
// `look`, where given, sees each outcome with its number.
Verdict judge(const std::vector<Operation>& operations, const std::filesystem::path& root,
              const std::function<void(int64_t, const Names&, Unsynced)>& look = {});

}  // namespace firn::faults
