// Stands in for libnccl: processes take turns in this one, on the interpreter's memory. What one sends stays until
// another one's turn, so a few turns of each make all of them right; before its peers had one, a process gets zeros.
#pragma once
#include <nccl.h>

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace firn::providers {

struct NcclCall {
  std::string name;
  bool captured = false;  // while a graph is recorded
  cudaStream_t stream = nullptr;
  const void* data = nullptr;
  size_t count = 0;  // of `type`
  ncclDataType_t type = ncclUint8;
  int peer = -1;
};

struct NcclStandIn {
  std::vector<NcclCall> calls;           // of this turn, without questions for errors
  int questions = 0, living = 0;         // for errors; communicators
  std::string fails;                     // the call that does
  ncclResult_t under_way = ncclSuccess;  // what an exchange under way comes to
  std::map<std::pair<int, int>, std::vector<std::vector<std::byte>>> sent;  // from, to: messages
  std::map<std::pair<int, int>, size_t> received;                           // how many of them
  std::map<int, std::vector<std::vector<std::byte>>> summands;              // of each process, of each ncclAllReduce

  void begin_turn(int rank);
  int count(const std::string& name) const;
  size_t bytes(const std::string& name) const;
};
NcclStandIn& nccl();

}  // namespace firn::providers
