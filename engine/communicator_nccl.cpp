#include "engine/communicator_nccl.h"

#include <nccl.h>

#include <algorithm>
#include <cstring>

#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/core/cuda_check.h"

namespace firn {
namespace {

void check(ncclResult_t status, const char* call, std::source_location at = std::source_location::current()) {
  if (status == ncclSuccess) return;
  check_alive(at);
  const char* const last = ncclGetLastError(nullptr);
  std::string text = last ? last : "";
  std::ranges::replace(text, '\n', ' ');
  throw DeviceError(fmt::format("NCCL: {}: {}{}{}", call, ncclGetErrorString(status), text.empty() ? "" : ": ", text),
                    at);
}

// What one kernel is to do.
void in_group(const auto& calls) {
  check(ncclGroupStart(), "ncclGroupStart");
  try {
    calls();
  } catch (...) {
    ncclGroupEnd();
    throw;
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
}

// What runs on another stream: the one that began it may go on until it waits. Events are lent.
class Beside : public Communicator::Exchange {
 public:
  Beside(cudaStream_t stream, cudaEvent_t end, std::vector<cudaEvent_t>& spare)
      : stream_(stream), end_(end), spare_(spare) {}
  ~Beside() override { spare_.push_back(end_); }
  void ends(cudaStream_t side) { firn::check(cudaEventRecord(end_, side)); }
  bool done() override { return waited_for_; }
  void wait() override {
    if (!std::exchange(waited_for_, true)) firn::check(cudaStreamWaitEvent(stream_, end_));
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t end_;
  std::vector<cudaEvent_t>& spare_;
  bool waited_for_ = false;
};

class Nccl : public Communicator {
 public:
  explicit Nccl(std::unique_ptr<Communicator> processes) : processes_(std::move(processes)) {}
  ~Nccl() override {
    processes_->watch({});
    if (communicator_) ncclCommDestroy(communicator_);
    for (const cudaEvent_t event : spare_) cudaEventDestroy(event);
    if (side_) cudaStreamDestroy(side_);
  }

  int rank() const override { return processes_->rank(); }
  int size() const override { return processes_->size(); }
  int on_this_machine() const override { return processes_->on_this_machine(); }
  int place() const override { return processes_->place(); }
  std::string name_of(int rank) const override { return processes_->name_of(rank); }
  std::vector<std::string> gather(const std::string& mine) override {
    require_working();
    return processes_->gather(mine);
  }
  std::string broadcast(const std::string& of_first) override {
    require_working();
    return processes_->broadcast(of_first);
  }
  void watch(std::function<std::string()> ask) override { processes_->watch(std::move(ask)); }
  void abort(int code) override { processes_->abort(code); }

  bool reduces(const Stream& stream) const override {
    return stream.is_cuda && !kernels::numerics(stream).deterministic;
  }

 private:
  // What failed since the last call.
  void require_working() const {
    ncclResult_t status = ncclSuccess;
    if (communicator_) check(ncclCommGetAsyncError(communicator_, &status), "ncclCommGetAsyncError");
    check(status, "an exchange under way");
  }

  // All processes come here together the first time.
  ncclComm_t working(const Stream& stream) {
    const bool recording = kernels::is_capturing(stream);
    if (communicator_) {
      if (stream.device != gpu_)
        throw DeviceError(fmt::format("NCCL: this process has exchanged data of GPU {}, not {}", gpu_, stream.device));
      if (!recording) require_working();
      return communicator_;
    }
    if (recording) throw DeviceError("NCCL: it does not start while a graph is recorded");
    ncclUniqueId id{};
    if (rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const std::string sent = processes_->broadcast(std::string(id.internal, sizeof id.internal));
    std::memcpy(id.internal, sent.data(), std::min(sent.size(), sizeof id.internal));
    current(stream);
    firn::check(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking));
    check(ncclCommInitRank(&communicator_, size(), id, rank()), "ncclCommInitRank");
    gpu_ = stream.device;
    processes_->watch([this]() -> std::string {  // who waits for a stream would wait for ever
      try {
        require_working();
        return {};
      } catch (const DeviceError& e) {
        return e.what();
      }
    });
    return communicator_;
  }

  cudaEvent_t event() {
    cudaEvent_t made = nullptr;
    if (spare_.empty())
      firn::check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    else
      made = spare_.back(), spare_.pop_back();
    return made;
  }
  // Behind all that is on the stream, whose GPU is the communicator's.
  std::unique_ptr<Exchange> beside(const Stream& stream, const auto& calls) {
    cudaStream_t const main = current(stream);
    auto exchange = std::make_unique<Beside>(main, event(), spare_);
    const cudaEvent_t begin = event();
    firn::check(cudaEventRecord(begin, main));
    firn::check(cudaStreamWaitEvent(side_, begin));
    spare_.push_back(begin);
    in_group(calls);
    exchange->ends(side_);
    return exchange;
  }

  std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece> sends,
                                        std::span<const Piece> receives, int number) override {
    if (!stream.is_cuda) return processes_->exchange(stream, sends, receives, number);
    if (stream.dry) return std::make_unique<Exchange>();
    ncclComm_t const with = working(stream);
    return beside(stream, [&] {
      for (const Piece& p : sends)
        if (p.bytes > 0) check(ncclSend(p.data, p.bytes, ncclUint8, p.peer, with, side_), "ncclSend");
      for (const Piece& p : receives)
        if (p.bytes > 0) check(ncclRecv(p.data, p.bytes, ncclUint8, p.peer, with, side_), "ncclRecv");
    });
  }

  std::unique_ptr<Exchange> do_reduce(const Stream& stream, std::span<const Array> arrays) override {
    if (!stream.is_cuda) return processes_->reduce(stream, arrays);
    if (stream.dry) return std::make_unique<Exchange>();
    ncclComm_t const with = working(stream);
    return beside(stream, [&] {
      for (const Array& a : arrays) {
        if (a.count == 0) continue;
        const ncclDataType_t type = a.type == DType::f64 ? ncclFloat64 : ncclFloat32;
        check(ncclAllReduce(a.data, a.data, size_t(a.count), type, ncclSum, with, side_), "ncclAllReduce");
      }
    });
  }

  std::unique_ptr<Communicator> processes_;
  ncclComm_t communicator_ = nullptr;
  cudaStream_t side_ = nullptr;
  std::vector<cudaEvent_t> spare_;
  int gpu_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> with_nccl(std::unique_ptr<Communicator> processes) {
  return std::make_unique<Nccl>(std::move(processes));
}

}  // namespace firn
