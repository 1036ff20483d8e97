// Sums whose order does not depend on who holds the terms: a binary tree over numbered leaves, which splits them in
// halves. Each process adds up the subtrees that it holds; of the rest, every process adds up one slice for all.
#pragma once
#include <cstdint>
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

// Sums over all leaves of lists of tensors. sums[k]: this process's, over the k-th of its subtrees (above); all lists
// of all processes are alike in shapes and types (f32, f64), and every process holds a leaf. All get the same bits;
// those of any number of processes, unless these reduce what is on the tensors' stream (Communicator::reduces).
// Sent by each process: 2 (R-1) / R of what a list holds, in R processes that hold a subtree each.
std::vector<Tensor> sum_over_processes(Communicator& processes, int64_t leaves, std::vector<std::vector<Tensor>> sums);

}  // namespace firn
