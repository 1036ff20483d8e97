// Sums whose order does not depend on who holds the terms: a binary tree over numbered leaves, which splits them in
// halves. Each process adds up the subtrees that it holds; of the rest, every process adds up one slice for all.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/communicator.h"
#include "engine/tensor.h"

namespace firn {

struct Leaves {
  int64_t first = 0, last = 0;  // those from first on, below last
  int64_t count() const { return last - first; }
  // Where a node's second half begins.
  int64_t middle() const { return first + count() / 2; }
  bool operator==(const Leaves&) const = default;
};

// Of so many leaves, those of one process: neighbours, about as many for each.
Leaves share_of(int64_t leaves, int rank, int ranks);

// The largest subtrees of the whole tree that lie within `held`, from first to last.
std::vector<Leaves> subtrees(int64_t leaves, Leaves held);

// What tensors travel as: as they are, or rounded to bf16: what each process has over a subtree, and the sum.
enum class Wire { as_is, bf16 };

// Sums over all leaves of tensors that are numbered, on all processes alike; begun as soon as enough of them are there,
// while others are still computed. All processes get the same bits. Those are of any number of processes, unless these
// reduce what is on the tensors' stream (Communicator::reduces; never what travels as bf16), or it travels as bf16.
// Sent by each: 2 (R-1) / R of what the tensors hold as they travel, in R processes that hold a subtree each.
class SumOverProcesses {
 public:
  // ShapeError where a process has no leaf.
  SumOverProcesses(Communicator& processes, int64_t leaves);
  ~SumOverProcesses();
  // Whether every process holds one subtree: whoever completes it may add() as things become ready. Otherwise processes
  // would do so in other orders.
  bool one_subtree_each() const;
  // of_subtrees[k]: what this process has over the k-th of its subtrees (above), all alike: f32 or f64. Processes add
  // the same numbers in the same order.
  void add(size_t number, std::vector<Tensor> of_subtrees, Wire wire = Wire::as_is);
  std::vector<Tensor> finish();  // by number

 private:
  class Bucket;
  void begin();
  void work_on();
  Communicator& processes_;
  std::vector<std::vector<Leaves>> held_;  // by each process
  int64_t leaves_, bytes_ = 0;
  struct Waiting {
    size_t number;
    std::vector<Tensor> tensors;
    Wire wire;
  };
  std::vector<Waiting> waiting_;  // for a bucket
  std::vector<std::unique_ptr<Bucket>> buckets_;
};

// The same of whole lists. sums[k]: over the k-th subtree.
std::vector<Tensor> sum_over_processes(Communicator& processes, int64_t leaves, std::vector<std::vector<Tensor>> sums,
                                       Wire wire = Wire::as_is);

}  // namespace firn
