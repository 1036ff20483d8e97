// Processes that a launcher started, over MPI. A thread of each tells its neighbour in the ring that it lives, and ends
// the job when its other neighbour is silent, or this process neither works nor waits for others: whoever waits for
// data waits as long as all live and work.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "engine/communicator.h"

#ifdef FIRN_MPI
#include <mpi.h>

#ifdef FIRN_NCCL
#include "engine/communicator_nccl.h"
#endif

#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>
#endif

namespace firn {

#ifdef FIRN_MPI
namespace {

// DeviceError where srun started several processes of which each sees itself alone, and no mpirun says that it is.
void require_together(int processes) {
  const char* const tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  const bool by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMI_SIZE");
  if (tasks && std::atoi(tasks) > 1 && processes < 2 && !by_mpirun)
    throw DeviceError(
        fmt::format("srun started {} processes that know nothing of each other: give it --mpi=pmix for "
                    "OpenMPI, --mpi=pmi2 for MPICH",
                    tasks));
}

using Clock = std::chrono::steady_clock;

void check(int status, const char* what) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw DeviceError(fmt::format("MPI: {}: {}", what, std::string(text, size_t(length))));
}

constexpr size_t kMost = size_t{1} << 30;  // bytes of a message: MPI counts them in an int

// What MPI is to do; and whether the process waits for it.
class Requests : public Communicator::Exchange {
 public:
  explicit Requests(std::atomic<bool>& waits) : waits_(waits) {}
  MPI_Request* add() { return &list_.emplace_back(); }
  bool done() override {
    int all = 0;
    check(MPI_Testall(int(list_.size()), list_.data(), &all, MPI_STATUSES_IGNORE), "exchanging data");
    return all != 0;
  }
  // In naps once it has waited for a while: beside other processes of the same machine, which may be what it waits for.
  void wait() override {
    waits_ = true;
    for (const Clock::time_point began = Clock::now(); !done();)
      if (Clock::now() - began < std::chrono::microseconds(200))
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    waits_ = false;
  }

 private:
  std::atomic<bool>& waits_;
  std::vector<MPI_Request> list_;
};

double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

// For how long a process has used no processor time worth the name, that of this thread aside (some libraries' threads
// look around now and then), and has read and written next to nothing.
class Idleness {
 public:
  double seconds() {
    const Work work = so_far();
    const double passed = std::chrono::duration<double>(Clock::now() - since_).count();
    if (work.seconds - before_.seconds > 0.001 + 0.005 * passed || work.bytes - before_.bytes > 1e5 + 1e3 * passed)
      reset();
    return std::chrono::duration<double>(Clock::now() - since_).count();
  }
  void reset() {
    since_ = Clock::now();
    before_ = so_far();
  }

 private:
  struct Work {
    double seconds = 0, bytes = 0;
  };
  static Work so_far() {
    Work work{.seconds = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID)};
    std::ifstream io("/proc/self/io");
    std::string name;
    for (double bytes = 0; io >> name >> bytes;)
      if (name == "rchar:" || name == "wchar:") work.bytes += bytes;
    return work;
  }
  Clock::time_point since_ = Clock::now();
  Work before_;
};

class Mpi : public Communicator {
 public:
  explicit Mpi(const LaunchOptions& options) : timeout_(options.timeout) {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "starting");
    if (provided < MPI_THREAD_MULTIPLE) throw DeviceError("this MPI takes calls of one thread only");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    for (MPI_Comm* own : {&data_, &control_, &life_}) {
      check(MPI_Comm_dup(MPI_COMM_WORLD, own), "starting");
      MPI_Comm_set_errhandler(*own, MPI_ERRORS_RETURN);
    }
    char host[MPI_MAX_PROCESSOR_NAME];
    int length = 0;
    MPI_Get_processor_name(host, &length);
    hosts_ = gather(std::string(host, size_t(length)));
    if (size_ > 1) life_thread_ = std::jthread([this](std::stop_token stop) { live(stop); });
  }

  ~Mpi() override {
    if (life_thread_.joinable()) {
      life_thread_.request_stop();
      woken_.notify_all();
      life_thread_.join();
    }
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int on_this_machine() const override { return int(std::ranges::count(hosts_, hosts_[size_t(rank_)])); }
  int place() const override {
    return int(std::ranges::count(hosts_.begin(), hosts_.begin() + rank_, hosts_[size_t(rank_)]));
  }
  std::string name_of(int rank) const override { return fmt::format("process {} on {}", rank, hosts_[size_t(rank)]); }

  // In pieces, of which those of all processes make one message.
  std::vector<std::string> gather(const std::string& mine) override {
    const auto processes = size_t(size_);
    const size_t piece = kMost / processes;
    const uint64_t own = mine.size();
    std::vector<uint64_t> sizes(processes);
    wait([&](MPI_Request* r) {
      return MPI_Iallgather(&own, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, control_, r);
    });
    std::vector<std::string> result(processes);
    for (size_t at = 0; at < std::ranges::max(sizes); at += piece) {
      std::vector<int> counts, begins;
      int all = 0;
      for (const size_t size : sizes) {
        counts.push_back(int(std::min(piece, size - std::min(at, size))));
        begins.push_back(std::exchange(all, all + counts.back()));
      }
      std::string text(size_t(all), ' ');
      wait([&](MPI_Request* r) {
        return MPI_Iallgatherv(mine.data() + std::min(at, mine.size()), counts[size_t(rank_)], MPI_CHAR, text.data(),
                               counts.data(), begins.data(), MPI_CHAR, control_, r);
      });
      for (size_t r = 0; r < processes; ++r) result[r].append(text, size_t(begins[r]), size_t(counts[r]));
    }
    return result;
  }

  std::string broadcast(const std::string& of_first) override {
    uint64_t size = of_first.size();
    wait([&](MPI_Request* r) { return MPI_Ibcast(&size, 1, MPI_UINT64_T, 0, control_, r); });
    std::string text = rank_ == 0 ? of_first : std::string(size, ' ');
    for (size_t at = 0; at < text.size(); at += kMost)
      wait([&](MPI_Request* r) {
        return MPI_Ibcast(text.data() + at, int(std::min(kMost, text.size() - at)), MPI_CHAR, 0, control_, r);
      });
    return text;
  }

  void watch(std::function<std::string()> ask) override {
    const std::scoped_lock lock(asking_);
    ask_ = std::move(ask);
  }

  [[noreturn]] void abort(int code) override {
    std::thread([code] {  // where a network is gone, MPI waits for it
      std::this_thread::sleep_for(std::chrono::seconds(5));
      _exit(code);
    })
        .detach();
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
  }

 private:
  void wait(const auto& begin) {
    Requests one(waits_);
    check(begin(one.add()), "a collective operation");
    one.wait();
  }

  std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece> sends,
                                        std::span<const Piece> receives, int number) override {
    if (stream.is_cuda) throw DeviceError("several processes with GPUs need NCCL, which this build has not");
    auto requests = std::make_unique<Requests>(waits_);
    const auto each = [&](std::span<const Piece> pieces, const auto& begin) {
      for (const Piece& piece : pieces)
        for (size_t at = 0; at < piece.bytes; at += kMost)
          check(begin(static_cast<char*>(piece.data) + at, int(std::min(kMost, piece.bytes - at)), piece.peer,
                      requests->add()),
                "exchanging data");
    };
    each(receives, [&](char* data, int n, int peer, MPI_Request* r) {
      return MPI_Irecv(data, n, MPI_CHAR, peer, number, data_, r);
    });
    each(sends, [&](char* data, int n, int peer, MPI_Request* r) {
      return MPI_Isend(data, n, MPI_CHAR, peer, number, data_, r);
    });
    return requests;
  }

  // Beats go around the ring, so that however many processes there are, each has two neighbours.
  void live(const std::stop_token& stop) {
    const int left = (rank_ + size_ - 1) % size_, right = (rank_ + 1) % size_;
    const auto period = std::chrono::duration<double>(std::min(1.0, timeout_ / 10));
    Clock::time_point heard = Clock::now();
    Idleness idle;
    char in = 0;
    const char out = 0;
    MPI_Request sent = MPI_REQUEST_NULL, expected = MPI_REQUEST_NULL;
    MPI_Irecv(&in, 1, MPI_CHAR, left, 0, life_, &expected);
    while (!stop.stop_requested()) {
      const Clock::time_point woke = Clock::now();
      int done = 0;
      if (MPI_Test(&sent, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done)
        MPI_Isend(&out, 1, MPI_CHAR, right, 0, life_, &sent);
      while (MPI_Test(&expected, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done) {
        heard = Clock::now();
        MPI_Irecv(&in, 1, MPI_CHAR, left, 0, life_, &expected);
      }
      if (std::chrono::duration<double>(woke - heard).count() > timeout_)
        end(fmt::format("{} has given no sign of life for {:g} s", name_of(left), timeout_));
      if (waits_) idle.reset();
      if (idle.seconds() > timeout_)
        end(fmt::format("{} has done nothing for {:g} s (--timeout), and others wait for it", name_of(rank_),
                        timeout_));
      if (const std::string wrong = ask(); !wrong.empty()) end(fmt::format("{}: {}", name_of(rank_), wrong));
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, stop, period, [] { return false; });
      if (Clock::now() - woke > 3 * period + std::chrono::seconds(1))
        heard = Clock::now(), idle.reset();  // it was this one that slept
    }
    for (MPI_Request* r : {&sent, &expected})
      if (*r != MPI_REQUEST_NULL) {
        MPI_Cancel(r);
        MPI_Request_free(r);
      }
  }

  std::string ask() {
    const std::scoped_lock lock(asking_);
    return ask_ ? ask_() : "";
  }
  [[noreturn]] void end(const std::string& why) {
    std::fputs((why + ": the run ends; go on from its last snapshot\n").c_str(), stderr);
    Mpi::abort(1);
  }

  double timeout_;
  int rank_ = 0, size_ = 1;
  MPI_Comm data_, control_, life_;
  std::vector<std::string> hosts_;
  std::atomic<bool> waits_ = false;  // for others
  std::mutex asking_, mutex_;
  std::function<std::string()> ask_;
  std::condition_variable_any woken_;
  std::jthread life_thread_;
};

}  // namespace

std::unique_ptr<Communicator> launched(const LaunchOptions& options) {
  if (rank_by_launcher() < 0) return require_together(1), nullptr;
  std::unique_ptr<Communicator> processes = std::make_unique<Mpi>(options);
  require_together(processes->size());
#ifdef FIRN_NCCL
  if (processes->size() > 1) processes = with_nccl(std::move(processes));
#endif
  return processes;
}

#else

std::unique_ptr<Communicator> launched(const LaunchOptions&) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* size = std::getenv(name); size && std::atoi(size) > 1)
      throw DeviceError(
          fmt::format("a launcher started {} processes and this build has no MPI: configure it with "
                      "-DFIRN_MPI=ON",
                      size));
  return nullptr;
}

#endif

}  // namespace firn
