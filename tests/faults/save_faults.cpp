// One save under each fault in turn: saves a tiny training state in a fork of this process, with the n-th call of one
// kind failing, for n = FIRST, FIRST + STEP, ... until a save makes fewer calls; looks each time at what is left
// behind. Runs with the fault library preloaded: firn_save_faults FOLDER CALL ERROR [FIRST [STEP [onward]]]
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/text.h"
#include "engine/threads.h"
#include "faults.h"
#include "io/run_log.h"
#include "models/stylegan2/stylegan2.h"
#include "tools/common.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"
#include "training/state/state.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

TrainOptions tiny_options() {
  TrainOptions o = TrainOptions::of("stylegan2");
  o.model = StyleGan2Options{
      .height = 8, .z_dim = 8, .w_dim = 8, .channel_base = 64, .channel_max = 8, .mapping_layers = 1, .mbstd_group = 2};
  o.batch = o.batch_gpu = 4;
  return o;
}

int64_t images_of(const SafetensorsFile& file) {
  int64_t images = 0;
  std::memcpy(&images, file.at("state.counters").bytes.data(), sizeof images);
  return images;
}

bool same_but_for_counters(const SafetensorsFile& a, const SafetensorsFile& b) {
  return std::ranges::equal(a.tensors, b.tensors, [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.dtype == y.second.dtype && x.second.shape == y.second.shape &&
           (x.second.bytes == y.second.bytes || x.first == "state.counters");
  });
}

struct Trials {
  fs::path folder, run = folder / "run", said = folder / "said";
  faults::Fault fault;
  faults::Arm* arm = nullptr;
  faults::Count* count = nullptr;
  TrainOptions options = tiny_options();
  TrainState state{options, Device::cpu()};
  SafetensorsFile first{};
  int64_t saved = 0;  // images of snapshot-latest
  int trials = 0, refused = 0, wrong = 0;

  // As the trainer does it.
  int save() {
    return tools::guarded("save", [&] {
      const DirectoryLock lock(run);
      remove_strays(run);
      RunLog log(run, AppendFile::Start::append);
      const fs::path path = snapshot_path(run, state.counters.images);
      save_snapshot(path, options, state);
      publish(path, latest_path(path.parent_path()));
      prune_snapshots(run, 1);
      log.text("saved " + path.string());
      log.flush();
      return 0;
    });
  }

  void begin() {
    fs::create_directories(run);
    state.counters.images = 1000;
    if (save() != 0) throw Error("the first save failed");
    first = read_safetensors(latest_path(run));
    saved = images_of(first);
  }

  void violation(const std::string& what) {
    ++wrong;
    fmt::print("{} {} at call {}{}: {}; it said: {}\n", fault.call, fault.error, fault.at,
               fault.onward ? " and on" : "", what, printable(read_text(said)));
  }

  // False: the save made fewer calls.
  bool once(long* calls) {
    state.counters.images += 1000;
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
      const int file = ::open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
      ::dup2(file, STDERR_FILENO);
      ::dup2(file, STDOUT_FILENO);
      arm(fault);
      const int code = save();
      *calls = count();
      arm({.call = fault.call});
      ::_exit(code);
    }
    *calls = -1;
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) throw Error("cannot fork");
    ++trials;
    look(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return *calls < 0 || *calls >= fault.at;
  }

  void look(int code) {
    const std::string text = read_text(said), log = read_text(run / "log.txt");
    const auto lines = std::ranges::count(text, '\n');
    if (code < 0) violation(fmt::format("signal {}", -code));
    if (code > 1) violation(fmt::format("exit {}", code));
    if (code == 1) ++refused;
    if (code == 1 && (lines != 1 || !text.starts_with("save: "))) violation("not one line");
    const fs::path path = snapshot_path(run, state.counters.images);
    const bool announced = log.ends_with(fmt::format("saved {}\n", path.string()));
    if (code == 0 && !announced) violation("nothing in the log");
    try {
      const SafetensorsFile latest = read_safetensors(latest_path(run));
      const int64_t images = images_of(latest);
      if (images != saved && images != state.counters.images) violation(fmt::format("holds {} images", images));
      if ((code == 0 || announced) && images != state.counters.images) violation("announced, but not there");
      if (announced && !fs::exists(path)) violation("announced, but its file is not there");
      if (!same_but_for_counters(latest, first)) violation("other weights");
      saved = images;
    } catch (const Error& e) {
      violation(e.what());
    }
    remove_strays(run);  // as the next process does
    for (const auto& entry : fs::directory_iterator(run)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".tmp")) violation("left " + name);
      if (name.starts_with("events.")) fs::remove(entry.path());
    }
    prune_snapshots(run, 1);  // the next trial finds no more files than this one
  }
};

}  // namespace

int main(int argc, char** argv) {
  return tools::guarded("firn_save_faults", [&] {
    if (argc < 4) throw ConfigError("FOLDER CALL ERROR [FIRST [STEP [onward]]]");
    set_threads(1);
    Trials t{.folder = argv[1],
             .fault = {.call = argv[2], .at = argc > 4 ? std::stol(argv[4]) : 1, .error = argv[3], .onward = argc > 6},
             .arm = reinterpret_cast<faults::Arm*>(::dlsym(RTLD_DEFAULT, "firn_fault_arm")),
             .count = reinterpret_cast<faults::Count*>(::dlsym(RTLD_DEFAULT, "firn_fault_count"))};
    const std::string under = fs::absolute(t.run).string();
    if (t.fault.call != std::string_view("malloc")) t.fault.under = under.c_str();
    if (!t.arm || !t.arm({.call = t.fault.call, .at = 1, .error = t.fault.error}) || !t.arm({.call = t.fault.call}))
      throw ConfigError("the fault library is not preloaded, or has no such call or error");
    t.begin();
    const auto calls =
        static_cast<long*>(::mmap(nullptr, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    while (t.once(calls)) t.fault.at += argc > 5 ? std::stol(argv[5]) : 1;
    fmt::print("{} {}: {} calls, {} trials, {} refused, {} wrong\n", t.fault.call, t.fault.error, *calls, t.trials,
               t.refused, t.wrong);
    return t.wrong > 0 ? 1 : 0;
  });
}
