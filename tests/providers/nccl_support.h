// Processes that take turns on the interpreter (stand_in_nccl.h), and what they add up.
#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/communicator_nccl.h"
#include "engine/ops.h"
#include "engine/tree_sum.h"
#include "kernels/choice/provider_numerics.h"
#include "tests/providers/stand_in.h"
#include "tests/providers/stand_in_nccl.h"
#include "tests/ptx/runtime.h"

namespace firn::providers {

using List = std::vector<Tensor>;
using Values = std::vector<std::vector<double>>;
using Names = std::vector<std::string>;

// What MPI would do. What process 0 broadcasts stays for the turns of others.
class Control : public Communicator {
 public:
  Control(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int on_this_machine() const override { return size_; }
  int place() const override { return rank_; }
  std::string name_of(int rank) const override { return fmt::format("process {} on here", rank); }
  std::vector<std::string> gather(const std::string& mine) override {
    std::vector<std::string> all(size_t(size_), mine);
    if (others) all.back() = others(mine);
    return all;
  }
  std::string broadcast(const std::string& of_first) override {
    static std::string last;
    return rank_ == 0 ? last = of_first : last;
  }
  void watch(std::function<std::string()> ask) override { asked = std::move(ask); }
  void abort(int) override { std::abort(); }
  static inline std::function<std::string()> asked = {};
  static inline int exchanges = 0;
  static inline std::function<std::string(const std::string&)> others = {};  // what the last one brings

 private:
  std::unique_ptr<Exchange> do_exchange(const Stream& stream, std::span<const Piece>, std::span<const Piece>,
                                        int) override {
    EXPECT_FALSE(stream.is_cuda);
    ++exchanges;
    return std::make_unique<Exchange>();
  }
  int rank_, size_;
};

struct Nccl : testing::Test {
  void SetUp() override { reset(); }
  void TearDown() override {
    EXPECT_EQ(ptx::finish(), cudaSuccess);
    EXPECT_EQ(ptx::take_findings(), Names{});
    EXPECT_EQ(nccl().living, 0);
    reset();
  }
  static void reset() {
    stand_in() = {};
    nccl() = {};
    ptx::events() = {};
    kernels::initial_numerics() = {};
    Control::exchanges = 0;
    Control::others = {};
    Control::asked = {};
    cudaGetLastError();
  }
};

inline std::unique_ptr<Communicator> begin_turn(int rank, int size) {
  nccl().begin_turn(rank);
  return with_nccl(std::make_unique<Control>(rank, size));
}

// Until all that is sent is right: one round for each exchange that what is sent follows from, and one more.
inline void take_turns(int size, const std::function<void(Communicator&, bool last)>& work, int rounds = 3) {
  for (int round = 0; round < rounds; ++round)
    for (int rank = 0; rank < size; ++rank) {
      const auto processes = begin_turn(rank, size);
      work(*processes, round + 1 == rounds);
      EXPECT_TRUE(stand_in().beside.empty()) << "nobody waits for it";
      EXPECT_EQ(ptx::finish(), cudaSuccess);
    }
}

inline Names names_of_calls() {
  Names names;
  for (const NcclCall& call : nccl().calls) names.push_back(call.name);
  return names;
}

inline Device gpu(bool deterministic) { return Device::cuda().with({.deterministic = deterministic}); }

// Large and small ones, of both types, and two that are the same memory.
inline List leaf(int64_t number, const Device& device) {
  Rng rng{.seed = uint64_t(number) + 1};
  List list;
  for (const auto& [shape, type] : {std::pair<Shape, DType>{{3, 5}, DType::f32},
                                    {{17000}, DType::f32},
                                    {{}, DType::f32},
                                    {{7}, DType::f64},
                                    {{2}, DType::f32}})
    list.push_back(Tensor::from(randn(shape, rng, type, Device::cpu()).to_doubles(), shape, type, device));
  list.push_back(list[1]);
  return list;
}

inline List plus(List a, const List& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] + b[i];
  return a;
}
inline List sum_of(Leaves node, const Device& device) {
  if (node.count() == 1) return leaf(node.first, device);
  return plus(sum_of({node.first, node.middle()}, device), sum_of({node.middle(), node.last}, device));
}
inline std::vector<List> sums_of_subtrees(int64_t leaves, int rank, int size, const Device& device) {
  std::vector<List> sums;
  for (const Leaves node : subtrees(leaves, share_of(leaves, rank, size))) sums.push_back(sum_of(node, device));
  return sums;
}

inline Values values(const List& list) {
  Values all;
  for (const Tensor& t : list) all.push_back(t.to_doubles());
  return all;
}
inline int64_t bytes_of(const List& list) {
  int64_t bytes = 0;
  for (const Tensor& t : list) bytes += t.count() * int64_t(size_of(t.type()));
  return bytes;
}

}  // namespace firn::providers
