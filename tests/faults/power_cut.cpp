#include "power_cut.h"

#include <fmt/core.h>

#include <sstream>

#include "base/error.h"
#include "io/files.h"
#include "io/safetensors.h"
#include "training/state/snapshot.h"

namespace firn::faults {
namespace fs = std::filesystem;
namespace {

bool is_snapshot(const fs::path& path) {
  return path.filename().string().starts_with("snapshot-") && path.extension() == ".safetensors";
}

// What the program itself took for whole, by content: the order in which it became a snapshot's name.
class Published {
 public:
  void note(const Names& names, const fs::path& path) {
    const auto found = names.find(path);
    if (found == names.end() || !found->second)
      throw IoError(fmt::format("{}: published, but not recorded", path.string()));
    const std::string& bytes = found->second->now;
    snapshot_options(parse_safetensors(std::as_bytes(std::span(bytes)), path.string()).metadata, path.string());
    order_[bytes] = ++count_;
  }
  int order(const std::string& bytes) const {  // 0: never
    const auto found = order_.find(bytes);
    return found == order_.end() ? 0 : found->second;
  }
  int count() const { return count_; }

 private:
  std::map<std::string, int> order_;
  int count_ = 0;
};

struct Promise {
  fs::path latest, file;  // `file` is empty once the run itself removed it
  int order = 0;
};

std::string broken_promise(const Names& names, Unsynced data, const Published& published,
                           const std::map<fs::path, Promise>& promises) {
  std::map<fs::path, int> found;
  for (const auto& [path, file] : names)
    if (is_snapshot(path) && file) {
      found[path] = published.order(content(*file, data));
      if (found[path] == 0) return fmt::format("{} is not whole", path.string());
    }
  for (const auto& [run, promise] : promises) {
    if (!found.contains(promise.latest) || found[promise.latest] < promise.order)
      return fmt::format("{} is missing or older than announced", promise.latest.string());
    if (!promise.file.empty() && !found.contains(promise.file))
      return fmt::format("{} is missing", promise.file.string());
  }
  return {};
}

}  // namespace

std::vector<Operation> read_operations(const fs::path& record) {
  const std::string text = read_text(record);
  std::vector<Operation> operations;
  std::map<uint64_t, uint64_t> number;  // an inode that was freed may come back as another file
  uint64_t files = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at), tab = text.rfind('\t', end);
    if (end == std::string::npos) throw IoError(fmt::format("{}: a line has no end", record.string()));
    std::istringstream line(text.substr(at, tab - at));
    Operation o;
    size_t size = 0;
    std::string path;
    line >> o.kind >> o.file >> o.offset >> size >> std::ws;
    std::getline(line, path);
    o.path = path;
    o.to = text.substr(tab + 1, end - tab - 1);
    o.data = text.substr(end + 1, size);
    if (o.kind == "create") number[o.file] = ++files;
    const auto known = number.find(o.file);
    o.file = known == number.end() ? 0 : known->second;
    at = end + 1 + size;
    operations.push_back(std::move(o));
  }
  return operations;
}

std::string content(const File& file, Unsynced data) {
  const size_t kept = std::min(file.synced.size(), file.now.size());
  switch (data) {
    case Unsynced::there:
      return file.now;
    case Unsynced::gone:
      return file.synced;
    case Unsynced::cut:
      return file.now.substr(0, kept + (file.now.size() - kept) / 2);
    case Unsynced::zeros:
      return file.synced.substr(0, kept) + std::string(file.now.size() - kept, '\0');
  }
  return {};
}

void Disk::change(Names& names, const Operation& o) const {
  if (o.kind == "create") names[o.path] = files_.at(o.file);
  if (o.kind == "mkdir") names[o.path] = nullptr;
  if (o.kind == "unlink") names.erase(o.path);
  const auto from = names.find(o.path);
  if (from == names.end()) return;
  if (o.kind == "link" || o.kind == "rename") names[o.to] = from->second;
  if (o.kind == "rename") names.erase(from);
}

void Disk::apply(const Operation& o) {
  if (o.kind == "create") files_[o.file] = std::make_shared<File>();
  const auto found = files_.find(o.file);
  if (o.kind == "write" && found != files_.end()) {
    std::string& now = found->second->now;
    now.resize(std::max(now.size(), size_t(o.offset) + o.data.size()));
    now.replace(size_t(o.offset), o.data.size(), o.data);
  } else if (o.kind == "truncate" && found != files_.end()) {
    found->second->now.resize(size_t(o.offset));
  } else if (o.kind == "sync" && found != files_.end()) {
    found->second->synced = found->second->now;
  } else if (o.kind == "sync-directory") {
    const auto in_it = [&](const Operation& p) { return (p.to.empty() ? p.path : p.to).parent_path() == o.path; };
    for (const Operation& p : pending_)
      if (in_it(p)) change(synced_, p);
    std::erase_if(pending_, in_it);
  } else if (o.kind != "write" && o.kind != "truncate" && o.kind != "sync") {
    change(now_, o);
    pending_.push_back(o);
  }
}

void Disk::for_each_outcome(const std::function<void(const Names&, Unsynced)>& look) const {
  Names names = synced_;
  for (size_t kept = 0;; ++kept) {
    Names reachable;
    for (const auto& [path, file] : names)
      if (path.parent_path() == root_ || reachable.contains(path.parent_path())) reachable[path] = file;
    bool unsynced = false;
    for (const auto& [path, file] : reachable) unsynced |= file && file->now != file->synced;
    look(reachable, Unsynced::there);
    if (unsynced)
      for (const Unsynced data : {Unsynced::gone, Unsynced::cut, Unsynced::zeros}) look(reachable, data);
    if (kept == pending_.size()) return;
    change(names, pending_[kept]);
  }
}

Verdict judge(const std::vector<Operation>& operations, const fs::path& root,
              const std::function<void(int64_t, const Names&, Unsynced)>& look) {
  Disk disk(root);
  Published published;
  std::map<fs::path, Promise> promises;
  Verdict verdict;
  for (const Operation& o : operations) {
    disk.apply(o);
    if (o.kind == "rename" && is_snapshot(o.to)) published.note(disk.names(), o.to);
    for (auto& [run, promise] : promises)
      if (o.kind == "unlink" && o.path == promise.file) promise.file.clear();
    if (const size_t at = o.data.rfind("saved "); o.path.filename() == "log.txt" && at != std::string::npos) {
      const fs::path run = o.path.parent_path();
      const fs::path named = o.data.substr(at + 6, o.data.find_first_of(";\n", at) - at - 6);
      promises[run] = {
          .latest = run / "snapshot-latest.safetensors", .file = run / named.filename(), .order = published.count()};
    }
    ++verdict.cuts;
    disk.for_each_outcome([&](const Names& names, Unsynced data) {
      if (look) look(verdict.outcomes, names, data);
      ++verdict.outcomes;
      const std::string broken = broken_promise(names, data, published, promises);
      if (broken.empty()) return;
      if (++verdict.wrong == 1) verdict.first = fmt::format("after {} operations: {}", verdict.cuts, broken);
    });
  }
  return verdict;
}

}  // namespace firn::faults
