// gan-train as several processes, for each MPI that is there: the same bits for any number of them, and a plain end
// whatever becomes of one.
#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct Launcher {
  const char* name;
  const char* program;
  const char* suffix;  // of the programs that are built for it
};
void PrintTo(const Launcher& launcher, std::ostream* out) { *out << launcher.program; }
constexpr Launcher launchers[] = {FIRN_LAUNCHERS};

class Processes : public testing::TestWithParam<Launcher> {
 protected:
  void SetUp() override { write_images(scratch_ / "data", 12, 8, 3, 2); }

  // As root, on fewer cores than processes, without spinning threads.
  std::string launch(int n, const std::string& program) const {
    const std::string settings =
        "OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
        "OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe ";
    const std::string path = fmt::format("'{}/{}{}'", FIRN_BINARY_DIR, program, GetParam().suffix);
    return settings + (n == 0 ? path : fmt::format("'{}' -n {} {}", GetParam().program, n, path));
  }
  std::string train_command(int n, const std::string& out, const std::string& more) const {
    return fmt::format(
        "{} --outdir '{}' --data '{}' --batch 8 --batch-gpu 2 --kimg 0.128 --tick 0.032 --snap 1 --grid 2x2 "
        "--precision "
        "fp32 --threads 1 --metrics none --no-report {} {}",
        launch(n, "gan-train"), (scratch_ / out).string(), (scratch_ / "data").string(), model_, more);
  }
  // 0 processes: without a launcher.
  Ran train(int n, const std::string& out, const std::string& more = {}) const {
    return shell(train_command(n, out, more));
  }
  fs::path run_of(const std::string& out) const { return latest_snapshot(scratch_ / out).parent_path(); }
  std::string snapshot(const std::string& out) const { return read_text(latest_snapshot(scratch_ / out)); }

  // Of each tick, all losses and scores.
  std::string losses(const std::string& out) const {
    std::string text;
    std::ifstream lines(run_of(out) / "stats.jsonl");
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json tick = nlohmann::json::parse(line);
      for (const auto& [name, stat] : tick.items())
        if (name.starts_with("Loss/")) text += name + stat.dump() + "\n";
    }
    return text;
  }

  // Of each evaluation.
  std::vector<std::string> scores(const std::string& out, const std::string& file) const {
    std::ifstream lines(run_of(out) / file);
    std::vector<std::string> all;
    for (std::string line; std::getline(lines, line);) all.push_back(nlohmann::json::parse(line)["results"].dump());
    return all;
  }

  void expect_same_bits(const std::string& more, std::initializer_list<int> counts = {2, 4}) const {
    const Ran one = train(0, "one", more);
    ASSERT_EQ(one.code, 0) << one.output;
    for (const int n : counts) {
      const std::string out = fmt::format("by{}", n);
      const Ran ran = train(n, out, more + " --verify-processes");
      ASSERT_EQ(ran.code, 0) << ran.output;
      EXPECT_MENTIONS(ran.output, fmt::format("processes  {}", n));
      EXPECT_EQ(losses("one"), losses(out)) << n;
      EXPECT_TRUE(snapshot("one") == snapshot(out)) << more << " on " << n;
    }
  }

  // Starts it and waits for its first snapshot.
  pid_t begin(int n, const std::string& out, const std::string& more) const {
    const pid_t child = fork();
    if (child == 0) {
      setpgid(0, 0);
      const std::string command =
          fmt::format("exec env {} > '{}' 2>&1", train_command(n, out, more), (scratch_ / "log").string());
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 600 && !begun(out); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(begun(out)) << log();
    return child;
  }
  bool begun(const std::string& out) const {
    std::error_code none;
    for (const fs::path& entry : entries_of(scratch_ / out, none))
      if (fs::exists(latest_path(entry))) return true;
    return false;
  }
  std::string log() const { return read_text(scratch_ / "log"); }
  // The process of that rank.
  pid_t process(const std::string& out, int rank) const {
    std::error_code none;
    for (const fs::path& entry : entries_of("/proc", none)) {
      const std::string name = entry.filename().string();
      if (name.find_first_not_of("0123456789") != name.npos) continue;
      const auto text = [&](const char* file) {
        std::ifstream in(entry / file);
        return std::string(std::istreambuf_iterator<char>(in), {});
      };
      const std::string arguments = text("cmdline"), environment = '\0' + text("environ");
      if (!arguments.starts_with(std::string(FIRN_BINARY_DIR) + "/gan-train") ||
          arguments.find((scratch_ / out).string()) == arguments.npos)
        continue;
      for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"})
        if (environment.find('\0' + fmt::format("{}={}", variable, rank) + '\0') != environment.npos)
          return pid_t(std::stoi(name));
    }
    return -1;
  }

  const Scratch scratch_;
  std::string model_ = "--cfg small --cbase 64 --cmax 8 --z-dim 8 --w-dim 8 --map-depth 1";
};

TEST_P(Processes, SumsAreThoseOfOneProcess) {
  for (const int n : {1, 2, 3, 4, 5, 8}) {
    const Ran ran = shell(launch(n, "firn_sums"));
    EXPECT_EQ(ran.code, 0) << ran.output;
    std::string zeros;
    for (int i = 0; i < n; ++i) zeros += " 0";
    EXPECT_MENTIONS(ran.output, "failures" + zeros);
  }
}

TEST_P(Processes, MakeTheSameBitsAsOne) { expect_same_bits("--aug ada --ada-kimg 1 --mirror --cond"); }
TEST_P(Processes, OfAnUnevenNumberMakeTheSameBits) { expect_same_bits("--precision bf16", {3}); }
// Six parts: the last process holds a subtree of the sum, the others two pieces of others.
TEST_P(Processes, WithPiecesOfSubtreesMakeTheSameBits) { expect_same_bits("--batch 12", {3}); }
TEST_P(Processes, MakeTheSameBitsOfSngan) {
  model_ = "--model sngan --cond --resolution 32 --resize --ch 4 --n-dis 2";
  expect_same_bits("");
}
TEST_P(Processes, MakeTheSameBitsOfStyleGan) {
  model_ = "--model stylegan --cbase 64 --cmax 8 --z-dim 8 --map-depth 1 --growth-kimg 0.032";
  expect_same_bits("--resolution 16 --resize", {4});
}

TEST_P(Processes, MakeTheSameBitsWithFrozenLayersAndFewerBytes) {
  ASSERT_EQ(train(0, "source").code, 0);
  const std::string init = fmt::format("--init '{}' ", latest_snapshot(scratch_ / "source").string());
  expect_same_bits(init + "--freeze-d 1 --cache-features", {4});
  expect_same_bits(
      init + "--method l2-sp+feature-matching+cdc --cdc-anchors 2 --aug diffaug-color --batch 12 --batch-gpu 3", {4});
  const auto sent = [&](const std::string& out, const std::string& more) {
    EXPECT_EQ(train(2, out, init + more).code, 0);
    std::ifstream lines(run_of(out) / "stats.jsonl");
    std::string line;
    std::getline(lines, line);
    return nlohmann::json::parse(line)["Resources/sent_mb"]["mean"].get<double>();
  };
  EXPECT_LT(sent("frozen", "--freeze-d 1"), sent("free", ""));
}

// A set that lies in the memories of all, with an image that another one stands for.
TEST_P(Processes, KeepImagesInShards) {
  const std::vector<std::byte> png = read_bytes(scratch_ / "data" / "class1" / "0007.png");
  put(scratch_ / "data" / "class1" / "0007.png", std::span(png).first(png.size() / 2));
  ASSERT_EQ(train(0, "source", "--mirror --cond").code, 0);
  for (const int n : {0, 2, 3}) {
    const Ran ran = train(n, fmt::format("by{}", n), "--mirror --cond --verify-processes --data-memory shards");
    ASSERT_EQ(ran.code, 0) << ran.output;
    EXPECT_MENTIONS(ran.output, "MB or less, a part in each process");
    EXPECT_MENTIONS(ran.output, "1 broken images skipped so far; the last is class1/0007.png");
    EXPECT_TRUE(snapshot("source") == snapshot(fmt::format("by{}", n))) << n;
  }
  const std::string features = fmt::format("--mirror --cond --init '{}' --freeze-d 1 --cache-features ",
                                           latest_snapshot(scratch_ / "source").string());
  ASSERT_EQ(train(0, "features", features).code, 0);
  ASSERT_EQ(train(4, "shards", features + "--data-memory shards").code, 0);
  EXPECT_TRUE(snapshot("features") == snapshot("shards"));
}

TEST_P(Processes, SendRoundedGradients) {
  const auto sent = [&](const std::string& out) {
    std::ifstream lines(run_of(out) / "stats.jsonl");
    std::string line;
    std::getline(lines, line);
    return nlohmann::json::parse(line)["Resources/sent_mb"]["mean"].get<double>();
  };
  ASSERT_EQ(train(2, "exact").code, 0);
  for (const char* out : {"rounded", "again"})
    ASSERT_EQ(train(2, out, "--bf16-gradients --verify-processes").code, 0) << out;
  EXPECT_LT(sent("rounded"), 0.55 * sent("exact"));
  EXPECT_TRUE(snapshot("rounded") == snapshot("again"));
  EXPECT_NE(losses("rounded"), losses("exact"));
}

// Of more images than a process takes at a time, and a last part that is not whole.
TEST_P(Processes, MeasureTheSame) {
  const std::string more = "--metrics fid1100_full-pixels,prdc700_full-pixels --kimg 0.064 --tick 0.032";
  for (const int n : {0, 3}) ASSERT_EQ(train(n, fmt::format("by{}", n), more).code, 0) << n;
  for (const char* file : {"metric-fid1100_full-pixels.jsonl", "metric-prdc700n5_full-pixels.jsonl"}) {
    const std::vector<std::string> here = scores("by0", file);
    EXPECT_EQ(here, scores("by3", file));
    EXPECT_EQ(here.size(), 2u);
  }
  EXPECT_TRUE(read_bytes(run_of("by0") / "neighbours.png") == read_bytes(run_of("by3") / "neighbours.png"));
}

// Several runs in one: each candidate begins, the best one goes on.
TEST_P(Processes, FindTheSameDepth) {
  ASSERT_EQ(train(0, "source").code, 0);
  const std::string more = fmt::format(
      "--init '{}' --freeze-d auto --holdout 0.2 --metrics fid300_full-pixels --metric-every 1 --kimg 0.4 --tick 0.088 "
      "--snap 3",
      latest_snapshot(scratch_ / "source").string());
  for (const int n : {0, 3}) {
    const Ran ran = train(n, fmt::format("by{}", n), more);
    ASSERT_EQ(ran.code, 0) << ran.output;
  }
  EXPECT_TRUE(snapshot("by0") == snapshot("by3"));
  EXPECT_EQ(read_text(run_of("by0") / "selection.json"), read_text(run_of("by3") / "selection.json"));
  const std::vector<std::string> here = scores("by0", "metric-fid300_full-pixels.jsonl");
  EXPECT_EQ(here, scores("by3", "metric-fid300_full-pixels.jsonl"));
  EXPECT_GT(here.size(), 1u);
}

TEST_P(Processes, GoOnWhereAnotherNumberOfThemStopped) {
  ASSERT_EQ(train(0, "whole").code, 0);
  ASSERT_EQ(train(0, "parts", "--kimg 0.032").code, 0);
  const auto resume = [&](int n, const char* kimg) {
    return shell(fmt::format("{} --outdir '{}' --resume latest --kimg {} --threads 1", launch(n, "gan-train"),
                             (scratch_ / "parts").string(), kimg));
  };
  Ran ran = resume(4, "0.064");
  ASSERT_EQ(ran.code, 0) << ran.output;
  ran = resume(0, "0.096");
  ASSERT_EQ(ran.code, 0) << ran.output;
  ran = resume(2, "0.128");
  ASSERT_EQ(ran.code, 0) << ran.output;
  const SafetensorsFile whole = read_safetensors(latest_snapshot(scratch_ / "whole")),
                        parts = read_safetensors(latest_snapshot(scratch_ / "parts"));
  for (const auto& [name, t] : whole.tensors)  // an end is the end of a tick
    if (name != "state.counters" && !name.starts_with("state.stats.")) {
      EXPECT_TRUE(t.bytes == parts.at(name).bytes) << name;
    }
}

TEST_P(Processes, SayTheirErrorsOnce) {
  const auto once = [](const Ran& ran, const std::string& what) {
    EXPECT_EQ(ran.code, 2) << ran.output;
    const size_t first = ran.output.find(what);
    EXPECT_NE(first, ran.output.npos) << ran.output;
    EXPECT_EQ(ran.output.find(what, first + 1), ran.output.npos) << ran.output;
  };
  once(train(4, "out", "--batch-gpu 4"), "4 processes need as many parts of a batch");
  once(train(2, "out", "--no-such-option"), "--no-such-option");
  once(train(2, "out", "--lr -1"), "--lr");
  EXPECT_FALSE(fs::exists(scratch_ / "out"));
  std::ofstream(scratch_ / "start.sh")
      << "[ \"$OMPI_COMM_WORLD_RANK$PMI_RANK\" = 1 ] && set -- \"$@\" --seed 4\nexec \"$@\"\n";
  std::string command = train_command(2, "out", "--dry-run");
  const std::string program = fmt::format("'{}/gan-train", FIRN_BINARY_DIR);
  command.insert(command.find(program), fmt::format("sh '{}' ", (scratch_ / "start.sh").string()));
  once(shell(command), "process 1 on ");
}

// srun spoke another protocol than MPI.
TEST_P(Processes, OfSlurmThatSeeThemselvesAloneSaySo) {
  Ran ran = shell("SLURM_STEP_NUM_TASKS=2 " + launch(1, "firn_sums"));
  EXPECT_EQ(ran.code, 0) << "mpirun says that it is alone: " << ran.output;
  ran = shell("SLURM_STEP_NUM_TASKS=2 " + launch(0, "firn_sums"));
  EXPECT_NE(ran.code, 0);
  EXPECT_MENTIONS(ran.output, "srun started 2 processes that know nothing of each other");
}

// The second process has another folder at the path of the data.
TEST_P(Processes, RefuseOtherDataByName) {
  if (shell("unshare -m true").code != 0) GTEST_SKIP() << "no mount namespaces are allowed here";
  write_images(scratch_ / "other", 11, 8, 3, 2);
  std::ofstream(scratch_ / "start.sh") << fmt::format(
      "[ \"$OMPI_COMM_WORLD_RANK$PMI_RANK\" = 1 ] || exec \"$@\"\n"
      "exec unshare -m sh -c 'mount --bind \"{0}/other\" \"{0}/data\" && exec \"$@\"' sh \"$@\"\n",
      scratch_.path().string());
  std::string command = train_command(2, "out", "");
  const std::string program = fmt::format("'{}/gan-train", FIRN_BINARY_DIR);
  command.insert(command.find(program), fmt::format("sh '{}' ", (scratch_ / "start.sh").string()));
  const Ran ran = shell(command);
  EXPECT_NE(ran.code, 0);
  EXPECT_MENTIONS(ran.output, "process 1 on ");
  EXPECT_MENTIONS(ran.output, "is not the data of process 0: it has 11 images, not 12");
}

TEST_P(Processes, EndWhenOneIsKilledAndLoseNothing) {
  ASSERT_EQ(train(0, "whole", "--kimg 0.512").code, 0);
  for (const int rank : {1, 0}) {
    const std::string out = fmt::format("killed{}", rank);
    const pid_t job = begin(4, out, "--kimg 0.512");
    const pid_t victim = process(out, rank);
    ASSERT_GT(victim, 0);
    kill(victim, SIGKILL);
    EXPECT_NE(wait_for(job), 0);
    const Ran ran = shell(
        fmt::format("{} --outdir '{}' --resume latest --threads 1", launch(2, "gan-train"), (scratch_ / out).string()));
    ASSERT_EQ(ran.code, 0) << ran.output;
    EXPECT_TRUE(snapshot("whole") == snapshot(out)) << rank;
  }
}

TEST_P(Processes, EndWhenOneHangsAndNameIt) {
  const pid_t job = begin(3, "hung", "--kimg 50 --timeout 2");
  const pid_t victim = process("hung", 1);
  ASSERT_GT(victim, 0);
  const auto began = std::chrono::steady_clock::now();
  kill(victim, SIGSTOP);
  EXPECT_NE(wait_for(job), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  EXPECT_MENTIONS(log(), "process 1 on ");
  EXPECT_MENTIONS(log(), "has given no sign of life for 2 s");
  kill(victim, SIGKILL);
  EXPECT_GT(images_seen(latest_snapshot(scratch_ / "hung")), 0);
}

TEST_P(Processes, EndWhenOneDoesNothingAndNameIt) {
  const auto began = std::chrono::steady_clock::now();
  const Ran ran = shell(launch(3, "firn_sums") + " idle");
  EXPECT_NE(ran.code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
  EXPECT_MENTIONS(ran.output, "process 1 on ");
  EXPECT_MENTIONS(ran.output, "has done nothing for 2 s");
}

// What a launcher says then, and with which code it ends, is its own affair; some of the last lines may be lost to it.
TEST_P(Processes, SaveOnceAndLeaveWhenAskedTo) {
  for (const int signal : {SIGUSR1, SIGTERM}) {
    const std::string out = fmt::format("stopped{}", signal);
    const pid_t job = begin(2, out, "--kimg 500");
    kill(job, signal);
    wait_for(job);
    const std::string lines = read_text(run_of(out) / "log.txt");
    const size_t stopped = lines.find("stopped; go on with"), saved = lines.rfind("saved ");
    ASSERT_NE(stopped, lines.npos) << lines;
    EXPECT_EQ(lines.find("stopped; go on with", stopped + 1), lines.npos);
    EXPECT_EQ(lines.find('\n', saved) + 1, stopped) << lines;
  }
}

TEST_P(Processes, EndWhenTheDiskIsFull) {
  const Ran ran = shell(fmt::format(
      "export FIRN_FAULT_CALL=write FIRN_FAULT_AT=1 FIRN_FAULT_ONWARD=1 FIRN_FAULT_ERROR=ENOSPC FIRN_FAULT_UNDER='{}'; "
      "export LD_PRELOAD='{}/libfirn_faults.so'; {}",
      (scratch_ / "full").string(), FIRN_BINARY_DIR, train_command(2, "full", "")));
  EXPECT_NE(ran.code, 0);
  EXPECT_MENTIONS(ran.output, "No space left on device");
}

// Over TCP and a virtual cable, as between two machines; then that cable is cut.
class AcrossNamespaces : public Processes {
 protected:
  Ran across(const std::string& more, const std::string& program, const std::string& arguments) const {
    return shell(
        fmt::format("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
                    "timeout 60 '{}/processes/across_namespaces' {} '{}' 1 '{}/{}{}' {}",
                    FIRN_TEST_DATA, more, GetParam().program, FIRN_BINARY_DIR, program, GetParam().suffix, arguments));
  }
};

TEST_P(AcrossNamespaces, MakeTheSameBitsAsOne) {
  const std::string command = train_command(0, "across", ""), one = command.substr(command.find("--outdir"));
  const Ran ran = across("", "gan-train", one);
  if (ran.code == 77) GTEST_SKIP() << ran.output;
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "processes  2");
  ASSERT_EQ(train(0, "one").code, 0);
  EXPECT_TRUE(snapshot("one") == snapshot("across"));
}

TEST_P(AcrossNamespaces, EndWhenTheCableIsCut) {
  if (GetParam().suffix != std::string())
    GTEST_SKIP() << "MPICH goes through the memory of the machine that both namespaces are on";
  const std::string command = train_command(0, "cut", "--kimg 500 --timeout 2");
  const Ran ran = across("--cut 3", "gan-train", command.substr(command.find("--outdir")));
  if (ran.code == 77) GTEST_SKIP() << ran.output;
  EXPECT_NE(ran.code, 0);
  EXPECT_MENTIONS(ran.output, "has given no sign of life for 2 s");
  EXPECT_GT(images_seen(latest_snapshot(scratch_ / "cut")), 0);
}

INSTANTIATE_TEST_SUITE_P(Mpi, AcrossNamespaces, testing::ValuesIn(launchers),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Mpi, Processes, testing::ValuesIn(launchers),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace firn
