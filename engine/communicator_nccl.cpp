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

class Nccl : public Communicator {
 public:
  explicit Nccl(std::unique_ptr<Communicator> processes) : processes_(std::move(processes)) {}
  ~Nccl() override {
    if (communicator_) ncclCommDestroy(communicator_);
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
    check(ncclCommInitRank(&communicator_, size(), id, rank()), "ncclCommInitRank");
    gpu_ = stream.device;
    return communicator_;
  }

  // It is done as soon as it is on the stream.
  std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece> sends,
                                        std::span<const Piece> receives, int number) override {
    if (!stream.is_cuda) return processes_->exchange(stream, sends, receives, number);
    if (stream.dry) return std::make_unique<Exchange>();
    ncclComm_t const with = working(stream);
    cudaStream_t const on = current(stream);
    in_group([&] {
      for (const Piece& p : sends)
        if (p.bytes > 0) check(ncclSend(p.data, p.bytes, ncclUint8, p.peer, with, on), "ncclSend");
      for (const Piece& p : receives)
        if (p.bytes > 0) check(ncclRecv(p.data, p.bytes, ncclUint8, p.peer, with, on), "ncclRecv");
    });
    return std::make_unique<Exchange>();
  }

  void do_reduce(const Stream& stream, std::span<const Array> arrays) override {
    if (!stream.is_cuda) return processes_->reduce(stream, arrays);
    if (stream.dry) return;
    ncclComm_t const with = working(stream);
    cudaStream_t const on = current(stream);
    in_group([&] {
      for (const Array& a : arrays) {
        if (a.count == 0) continue;
        const ncclDataType_t type = a.type == DType::f64 ? ncclFloat64 : ncclFloat32;
        check(ncclAllReduce(a.data, a.data, size_t(a.count), type, ncclSum, with, on), "ncclAllReduce");
      }
    });
  }

  std::unique_ptr<Communicator> processes_;
  ncclComm_t communicator_ = nullptr;
  int gpu_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> with_nccl(std::unique_ptr<Communicator> processes) {
  return std::make_unique<Nccl>(std::move(processes));
}

}  // namespace firn
