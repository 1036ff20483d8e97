// Choosing among ways to run one operation: measured at first use, remembered in memory and in a file that processes
// share. The file is a cache: a broken, foreign or unwritable one is as good as none.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>

namespace firn::kernels {

struct Choice {
  std::string name;
  double microseconds = 0;
  std::map<std::string, double> measured = {};     // of every way, by name
  std::map<std::string, std::string> failed = {};  // ways after which the device was lost, and with which driver
};

class ChoiceCache {
 public:
  explicit ChoiceCache(std::filesystem::path file) : file_(std::move(file)) {}  // an empty path: memory only
  std::optional<Choice> find(const std::string& key);
  void remember(const std::string& key, const Choice&);  // here, and in the file beside what others wrote meanwhile

 private:
  std::mutex mutex_;
  std::filesystem::path file_;
  bool loaded_ = false;
  std::map<std::string, Choice> choices_;
};

// The cache of this user: providers.json in cache_folder().
ChoiceCache& choice_cache();

// While it lives, it is told of each operation that choose() plans; the innermost one hears.
class ChoiceWatch {
 public:
  explicit ChoiceWatch(std::function<void(int)> each = {});  // called with the number of operations so far
  ~ChoiceWatch();
  ChoiceWatch(const ChoiceWatch&) = delete;
  ChoiceWatch& operator=(const ChoiceWatch&) = delete;
  int operations() const { return operations_; }

 private:
  friend void note_choice();
  ChoiceWatch* outer_;
  std::function<void(int)> each_;
  int operations_ = 0;
};
void note_choice();

struct Candidate {
  std::string name;
  std::function<bool()> prepare;  // makes what running needs; false: it cannot run here
  std::function<void()> run;      // enqueues the operation; running it again changes nothing
  std::string ours = {};     // launch name and version of our kernel, which is left out everywhere if it fails once
  bool last_resort = false;  // never left out, whatever it did
};

// How candidates are tried. Without `microseconds` nothing may be measured now (a stream is being captured).
struct Timer {
  std::function<void(const std::function<void()>&)> once;            // runs it for the first time, and waits for it
  std::function<double(const std::function<void()>&)> microseconds;  // of one of its later runs
  std::string driver;                                                // a new one gives another chance to what failed
  bool deterministic = false;                                        // the first candidate at once, whatever is known
  explicit operator bool() const { return bool(microseconds); }
};

struct Chosen {
  size_t index;
  bool settled;  // false: a later call that may measure should choose again
};

// The remembered candidate, else the fastest, else the first that can be prepared; nullopt when none can, the last
// DeviceError when all that can fail as they run. A deterministic stream takes the first at once. Each is run by
// itself first. The one in which the device is lost is named by the DeviceLost that is thrown, and left out from then
// on. What is chosen while memory is short is not remembered.
std::optional<Chosen> choose(ChoiceCache&, const std::string& key, std::span<const Candidate>, const Timer&);

// Calls f, which runs nothing but this candidate; so it names and remembers what loses the device.
void run_named(ChoiceCache&, const std::string& key, const Candidate&, const Timer&, const std::function<void()>& f);

}  // namespace firn::kernels
