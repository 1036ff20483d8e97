#include "tests/providers/stand_in_nccl.h"

#include <cstring>
#include <functional>
#include <set>

#include "base/error.h"
#include "tests/providers/stand_in.h"
#include "tests/ptx/runtime_state.h"

using namespace firn;
using namespace firn::providers;

struct ncclComm {
  int rank, size, gpu;
};

namespace firn::providers {

NcclStandIn& nccl() {
  static NcclStandIn n;
  return n;
}

void NcclStandIn::begin_turn(int rank) {
  calls.clear();
  received.clear();
  summands[rank].clear();
  for (auto& [ends, messages] : sent)
    if (ends.first == rank) messages.clear();
}

int NcclStandIn::count(const std::string& name) const {
  int n = 0;
  for (const NcclCall& call : calls) n += call.name == name;
  return n;
}

}  // namespace firn::providers

namespace {

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

constexpr char kId[] = "of the one world that there is";
int depth = 0;  // of groups
std::vector<std::function<void()>> group;
cudaStream_t stream_of_group = nullptr;
ncclResult_t error_of_group = ncclSuccess;  // of a call in it: then none of them is done

ncclResult_t misused(const std::string& what) {
  ptx::note_finding("NCCL: " + what);
  return ncclInvalidUsage;
}

ncclResult_t noted(NcclCall call) {
  call.captured = ptx::runtime().capture != nullptr;
  nccl().calls.push_back(call);
  return nccl().fails == call.name ? ncclSystemError : ncclSuccess;
}

// What the group's end, or the call itself, gives the stream.
ncclResult_t queue(std::vector<std::function<void()>> works, cudaStream_t stream) {
  const auto run = [works = std::move(works)] {
    return ptx::guarded([&] {
      for (const auto& work : works) work();
      return cudaSuccess;
    });
  };
  if (is_second(stream)) return stand_in().beside.push_back({run}), ncclSuccess;
  return ptx::submit({run}) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t accept(const NcclCall& call, const ncclComm* c, bool outside_of_groups, std::function<void()> work) {
  if (const ncclResult_t status = noted(call); status != ncclSuccess)
    return depth > 0 ? error_of_group = status : status;
  if (!c) return misused(call.name + " without a communicator");
  if (call.stream == nullptr || device_of(call.stream) != c->gpu || stand_in().device != c->gpu)
    return misused(call.name + " on a stream that is not of the communicator's GPU");
  if (call.peer >= c->size || call.peer == c->rank) return misused(call.name + " with a process that is no peer");
  if (is_second(call.stream) && !stand_in().behind) return misused(call.name + " before what its data comes from");
  if (depth > 0) return group.push_back(std::move(work)), stream_of_group = call.stream, ncclSuccess;
  if (!outside_of_groups) return misused(call.name + " outside of a group");
  return queue({std::move(work)}, call.stream);
}

std::vector<std::byte> bytes_at(const void* p, size_t bytes) {
  ptx::runtime().checker.host_access(p, bytes, ptx::Access::read);
  const auto* const first = static_cast<const std::byte*>(p);
  return {first, first + bytes};
}
void put(void* p, const std::vector<std::byte>& bytes) {
  ptx::runtime().checker.host_access(p, bytes.size(), ptx::Access::write);
  std::memcpy(p, bytes.data(), bytes.size());
}

template <class T>
void add(std::vector<std::byte>& to, const std::vector<std::byte>& from) {
  for (size_t at = 0; at < to.size(); at += sizeof(T)) {
    T a, b;
    std::memcpy(&a, &to[at], sizeof a);
    std::memcpy(&b, &from[at], sizeof b);
    a += b;
    std::memcpy(&to[at], &a, sizeof a);
  }
}

// In order of processes.
void reduce(int rank, const void* from, void* to, size_t bytes, ncclDataType_t type) {
  auto& all = nccl().summands;
  const size_t number = all[rank].size();
  all[rank].push_back(bytes_at(from, bytes));
  std::vector<std::byte> sum;
  for (const auto& [process, its] : all) {
    if (its.empty()) continue;  // it had no turn yet
    if (its.size() <= number || its[number].size() != bytes)
      throw Error(fmt::format("NCCL: processes {} and {} reduce other counts", rank, process));
    if (sum.empty())
      sum = its[number];
    else if (type == ncclFloat64)
      add<double>(sum, its[number]);
    else
      add<float>(sum, its[number]);
  }
  put(to, sum);
}

}  // namespace

extern "C" {
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memcpy(id->internal, kId, sizeof kId);
  return noted({.name = "ncclGetUniqueId"});
}
ncclResult_t ncclCommInitRank(ncclComm_t* made, int ranks, ncclUniqueId id, int rank) {
  if (const ncclResult_t status = noted({.name = "ncclCommInitRank"}); status != ncclSuccess) return status;
  if (ptx::unless_captured() != cudaSuccess) return misused("ncclCommInitRank while a graph is recorded");
  if (std::string(id.internal) != kId) return misused("ncclCommInitRank with another id than process 0's");
  if (depth > 0) return misused("ncclCommInitRank in a group");
  *made = new ncclComm{rank, ranks, stand_in().device};
  ++nccl().living;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t c) {
  delete c;
  --nccl().living;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* status) {
  ++nccl().questions;
  *status = nccl().under_way;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t status) {
  return status == ncclSystemError ? "unhandled system error" : "another error";
}
const char* ncclGetLastError(ncclComm_t) { return nccl().fails.empty() ? "" : "a cable\nis cut"; }

ncclResult_t ncclGroupStart() {
  const ncclResult_t status = noted({.name = "ncclGroupStart"});
  depth += status == ncclSuccess;
  return status;
}
ncclResult_t ncclGroupEnd() {
  if (depth == 0) return misused("ncclGroupEnd without a start");
  ncclResult_t status = noted({.name = "ncclGroupEnd"});
  if (--depth > 0) return status;
  if (const ncclResult_t error = std::exchange(error_of_group, ncclSuccess); error != ncclSuccess) status = error;
  std::vector<std::function<void()>> works = std::exchange(group, {});
  return status != ncclSuccess || works.empty() ? status : queue(std::move(works), stream_of_group);
}
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream) {
  const auto work = [=, rank = c->rank] { nccl().sent[{rank, peer}].push_back(bytes_at(data, count * size_of(type))); };
  return accept({"ncclSend", false, stream, data, count, type, peer}, c, false, work);
}
ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
  const auto work = [=, rank = c->rank] {
    const std::vector<std::vector<std::byte>>& messages = nccl().sent[{peer, rank}];
    const size_t number = nccl().received[{peer, rank}]++;
    if (messages.empty()) return put(data, std::vector<std::byte>(count * size_of(type)));
    if (number >= messages.size() || messages[number].size() != count * size_of(type))
      throw Error(fmt::format("NCCL: process {} waits for {} bytes that process {} does not send", rank,
                              count * size_of(type), peer));
    put(data, messages[number]);
  };
  return accept({"ncclRecv", false, stream, data, count, type, peer}, c, false, work);
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t c,
                           cudaStream_t stream) {
  const auto work = [=, rank = c->rank] { reduce(rank, from, to, count * size_of(type), type); };
  return accept({"ncclAllReduce", false, stream, to, count, type}, c, true, work);
}
}

size_t firn::providers::NcclStandIn::bytes(const std::string& name) const {
  size_t n = 0;
  for (const NcclCall& call : calls)
    if (call.name == name) n += call.count * ::size_of(call.type);
  return n;
}
