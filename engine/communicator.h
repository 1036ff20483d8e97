// The processes of one run, each of which drives one device: what they send each other. Started by mpirun or a
// scheduler; sums over them are engine/tree_sum.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/run.h"

namespace firn {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int on_this_machine() const = 0;          // how many of them
  virtual int place() const = 0;                    // among those, from 0 on
  virtual std::string name_of(int rank) const = 0;  // "process 2 on HOST"

  // For small things: what each process brings, by rank; and what process 0 brings.
  virtual std::vector<std::string> gather(const std::string& mine) = 0;
  virtual std::string broadcast(const std::string& of_first) = 0;

  // Memory on the device of a stream, and the process that it goes to or comes from.
  struct Piece {
    int peer;
    void* data;
    size_t bytes;
  };
  class Exchange {
   public:
    virtual ~Exchange() = default;
    // Without waiting; it is worked on while somebody asks. On a GPU it is once somebody has waited.
    virtual bool done() { return true; }
    virtual void wait() {}  // what comes behind on the stream then finds it done: on a GPU the stream waits
  };
  // Begins to send and receive all of them, behind what is on the stream: what one process sends another in the same
  // order on both sides. Of several exchanges under way those of the same number belong together. Until it is done,
  // nothing else may be done with that memory, and it stays. DeviceError where a transport fails.
  std::unique_ptr<Exchange> exchange(const Stream& stream, std::span<const Piece> sends,
                                     std::span<const Piece> receives, int number = 0);

  // Whether sums over processes of what is on this stream may be made by reduce(), in an order of its own: the same in
  // every run of so many processes, another one for another number. All processes answer alike.
  virtual bool reduces(const Stream&) const { return false; }
  struct Array {
    void* data;
    int64_t count;
    DType type;  // f32 or f64
  };
  // Each array is to become its sum over processes; all bring the same counts and types. DeviceError as above.
  std::unique_ptr<Exchange> reduce(const Stream& stream, std::span<const Array> arrays);

  // By exchange(), and by reduce() where it sends the least that it can.
  int64_t bytes_sent() const { return bytes_sent_; }
  // So many were sent again, by a graph in which calls were recorded.
  void note_sent(int64_t bytes) { bytes_sent_ += bytes; }

  // Asked every second from another thread: what has gone wrong, which nobody who waits would learn; "" for nothing.
  // It ends all processes. An empty function: it is asked no more, and is not being asked.
  virtual void watch(std::function<std::string()>) {}

  // Ends all processes at once, this one included, when it cannot go on: what to others must look like a failure.
  [[noreturn]] virtual void abort(int code) = 0;

 private:
  virtual std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece> sends,
                                                std::span<const Piece> receives, int number) = 0;
  virtual std::unique_ptr<Exchange> do_reduce(const Stream& stream, std::span<const Array> arrays);
  std::atomic<int64_t> bytes_sent_ = 0;
};

Communicator& alone();  // one process

struct LaunchOptions {
  double timeout = 60;  // seconds without a sign of life, or of work, after which a process is given up
};

// Of the processes that a launcher (mpirun, srun) started with this one; null where none did. Call it once, from main.
// DeviceError where a launcher started several and this build has no MPI.
std::unique_ptr<Communicator> launched(const LaunchOptions& options);
// Its number where a launcher started it, as the environment says, before launched() and in builds without MPI; else
// -1.
int rank_by_launcher();

}  // namespace firn
