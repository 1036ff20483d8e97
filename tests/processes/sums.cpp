// Sums, gathering and broadcasting over the processes that a launcher started, each against what one process finds by
// itself: bit for bit. Every process holds all leaves, so that it knows the sum.
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <thread>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/tree_sum.h"

namespace {

using namespace firn;
using List = std::vector<Tensor>;

int failures = 0, checks = 0;
void check(bool right, const std::string& what) {
  ++checks;
  if (!right) ++failures, std::cerr << what << "\n";
}

// Small and large ones, of both types, an empty shape, and two that are the same memory.
List leaf(int64_t number) {
  Rng rng{.seed = uint64_t(number) + 1};
  const Device cpu = Device::cpu();
  List list = {randn({3, 5}, rng, DType::f32, cpu),  randn({40000}, rng, DType::f32, cpu),
               randn({}, rng, DType::f32, cpu),      randn({7, 2500}, rng, DType::f64, cpu),
               randn({16384}, rng, DType::f32, cpu), randn({1}, rng, DType::f64, cpu)};
  list.push_back(list[1]);
  return list;
}

List sum_of(Leaves node) {
  if (node.count() == 1) return leaf(node.first);
  List low = sum_of({node.first, node.middle()});
  const List high = sum_of({node.middle(), node.last});
  for (size_t i = 0; i < low.size(); ++i) low[i] = low[i] + high[i];
  return low;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.type() == b.type() &&
         std::memcmp(a.data(), b.data(), size_t(a.count()) * size_of(a.type())) == 0;
}

void check_sums(Communicator& processes) {
  const int ranks = processes.size();
  for (int64_t leaves = ranks; leaves <= 9; ++leaves) {
    std::vector<List> mine;
    for (const Leaves node : subtrees(leaves, share_of(leaves, processes.rank(), ranks))) mine.push_back(sum_of(node));
    const List kept = mine[0];  // somebody else sees them: they must stay
    std::vector<std::vector<double>> values;
    for (const Tensor& t : kept) values.push_back(t.to_doubles());
    const int64_t sent = processes.bytes_sent();
    const List found = sum_over_processes(processes, leaves, std::move(mine)), expected = sum_of({0, leaves});
    check(found.size() == expected.size(), "another number of tensors");
    for (size_t i = 0; i < expected.size(); ++i) {
      check(same(found[i], expected[i]), fmt::format("tensor {} of {} leaves on {} processes", i, leaves, ranks));
      check(kept[i].to_doubles() == values[i], fmt::format("tensor {} of a process was written over", i));
    }
    if (leaves % ranks) continue;
    int64_t bytes = 0;
    for (const Tensor& t : expected) bytes += t.count() * int64_t(size_of(t.type()));
    std::vector<std::string> all = processes.gather(std::to_string(processes.bytes_sent() - sent));
    int64_t total = 0;
    for (const std::string& n : all) total += std::stoll(n);
    const bool one_subtree_each =
        subtrees(leaves, share_of(leaves, 0, ranks)).size() == 1 && (ranks & (ranks - 1)) == 0;
    if (one_subtree_each)
      check(total == 2 * (ranks - 1) * bytes,
            fmt::format("{} bytes on the wire, not {}", total, 2 * (ranks - 1) * bytes));
  }
}

// What each process has over a subtree is rounded, and so is the sum: by 2^-8 of itself at most.
void check_rounded_sums(Communicator& processes) {
  const int ranks = processes.size();
  for (int64_t leaves = ranks; leaves <= 6; ++leaves) {
    std::vector<List> mine;
    for (const Leaves node : subtrees(leaves, share_of(leaves, processes.rank(), ranks))) mine.push_back(sum_of(node));
    const int64_t sent = processes.bytes_sent();
    const List found = sum_over_processes(processes, leaves, std::move(mine), Wire::bf16),
               expected = sum_of({0, leaves});
    const int64_t bytes = processes.bytes_sent() - sent;
    std::string mine_found;
    int64_t count = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::vector<double> values = found[i].to_doubles(), right = expected[i].to_doubles();
      std::vector<double> sizes(right.size());
      for (int64_t k = 0; k < leaves; ++k) {
        const std::vector<double> term = leaf(k)[i].to_doubles();
        for (size_t j = 0; j < term.size(); ++j) sizes[j] += std::abs(term[j]);
      }
      bool near = found[i].shape() == expected[i].shape() && found[i].type() == expected[i].type(), exact = true;
      for (size_t j = 0; j < right.size(); ++j) {
        near = near && std::abs(values[j] - right[j]) <= 0x1.02p-7 * sizes[j];
        exact = exact && values[j] == right[j];
      }
      check(near, fmt::format("tensor {} of {} leaves on {} processes, rounded", i, leaves, ranks));
      if (expected[i].count() > 1000) check(exact == (ranks == 1), "rounded, or not");
      mine_found.append(static_cast<const char*>(found[i].data()), size_t(found[i].count()) * size_of(found[i].type()));
      count += expected[i].count();
    }
    const std::vector<std::string> all = processes.gather(mine_found);
    check(std::ranges::count(all, mine_found) == ranks, "processes found other sums");
    if (leaves == ranks && (ranks & (ranks - 1)) == 0) {
      int64_t total = 0;
      for (const std::string& n : processes.gather(std::to_string(bytes))) total += std::stoll(n);
      check(total == 2 * (ranks - 1) * 2 * count, fmt::format("{} bytes on the wire for {} numbers", total, count));
    }
  }
}

void check_small_things(Communicator& processes) {
  check(processes.place() == processes.rank(), "another place among the processes of one machine");
  const std::string mine(size_t(processes.rank()) * 1000, char('a' + processes.rank()));
  const std::vector<std::string> all = processes.gather(mine);
  check(std::ssize(all) == processes.size(), "gathered another number of texts");
  for (size_t r = 0; r < all.size(); ++r)
    check(all[r] == std::string(r * 1000, char('a' + r)), "gathered another text");
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1} << 22}) {
    const std::string text(size, 'x');
    check(processes.broadcast(processes.rank() == 0 ? text : "other") == text, "broadcast another text");
  }
  try {
    sum_over_processes(processes, processes.size() - 1, {});
    check(processes.size() == 1, "fewer leaves than processes were summed");
  } catch (const std::exception&) {
    check(true, "");
  }
}

}  // namespace

// With an argument, process 1 does nothing.
int main(int argc, char**) try {
  const std::unique_ptr<Communicator> launched = firn::launched({.timeout = argc > 1 ? 2.0 : 60});
  if (!launched) return std::cerr << "start it with mpirun\n", 1;
  const NoGrad no_grad;
  if (argc > 1 && launched->rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(60));
  check_sums(*launched);
  check_rounded_sums(*launched);
  check_small_things(*launched);
  std::vector<std::string> all = launched->gather(std::to_string(failures));
  if (launched->rank() == 0)
    std::cout << checks << " checks, failures " << fmt::format("{}", fmt::join(all, " ")) << "\n";
  return failures ? 1 : 0;
} catch (const std::exception& e) {
  return std::cerr << e.what() << "\n", 1;
}
