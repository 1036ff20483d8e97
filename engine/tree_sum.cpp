#include "engine/tree_sum.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/range.h"
#include "kernels/ops/elementwise.h"

namespace firn {
namespace {

constexpr int64_t kSmall = 16384;              // numbers; tensors of fewer travel together
constexpr int64_t kBucket = int64_t{4} << 20;  // bytes

// Lists of tensors as fewer, larger ones, which nobody else sees: the small ones of each type behind each other, where
// they travel alike.
class Packing {
 public:
  Packing(const std::vector<Tensor>& like, const std::vector<Wire>& wires) {
    for (size_t i = 0; i < like.size(); ++i) {
      shapes_.push_back(like[i].shape());
      const DType type = like[i].type();
      if (type != DType::f32 && type != DType::f64)
        throw ShapeError(fmt::format("a sum over processes of {}; f32 or f64 is expected", name_of(type)));
      const bool small = like[i].count() < kSmall;
      auto pack = std::ranges::find_if(
          packs_, [&](const Pack& p) { return small && p.small && p.type == type && p.wire == wires[i]; });
      if (pack == packs_.end())
        pack = packs_.insert(pack, {.type = type, .small = small, .wire = wires[i], .members = {}});
      pack->members.push_back(i);
    }
  }

  std::vector<Tensor> pack(const std::vector<Tensor>& list) const {
    std::vector<Tensor> all;
    for (const Pack& p : packs_) {
      if (!p.small) {
        const Tensor& one = list[p.members[0]];
        Tensor own = one.view({one.count()});
        if (own.identity().use_count() > 2) own = one.like({one.count()}), own.copy_from(one);  // others see it, too
        all.push_back(std::move(own));
        continue;
      }
      std::vector<Tensor> flat;
      for (const size_t i : p.members) flat.push_back(list[i].detach().view({list[i].count()}));
      Tensor together = concat(flat, 0);
      all.push_back(std::move(together));
    }
    return all;
  }

  bool rounded(size_t packed) const { return packs_[packed].wire == Wire::bf16; }

  std::vector<Tensor> unpack(const std::vector<Tensor>& packed) const {
    std::vector<Tensor> list(shapes_.size());
    for (size_t k = 0; k < packs_.size(); ++k) {
      int64_t at = 0;
      for (const size_t i : packs_[k].members) {
        const int64_t n = count(shapes_[i]);
        list[i] = (packs_[k].small ? slice(packed[k], 0, at, at + n) : packed[k]).view(shapes_[i]);
        at += n;
      }
    }
    return list;
  }

 private:
  struct Pack {
    DType type;
    bool small;
    Wire wire;
    std::vector<size_t> members;
  };
  std::vector<Shape> shapes_;
  std::vector<Pack> packs_;
};

// y <- a + b, where y may be one of them.
void add_into(const Stream& stream, DType type, void* y, const void* a, const void* b, int64_t n) {
  if (n == 0) return;
  dispatch_acc(type, [&](auto tag) {
    using T = decltype(tag);
    kernels::Binary<T> k{static_cast<T*>(y),
                         static_cast<const T*>(a),
                         static_cast<const T*>(b),
                         kernels::BinaryOp::add,
                         1,
                         {n},
                         {1},
                         {1}};
    run(stream, k);
  });
}

void round_into(const Stream& stream, DType type, bf16* y, const void* x, int64_t n) {
  if (n == 0) return;
  dispatch_acc(type, [&](auto tag) {
    using T = decltype(tag);
    run(stream, kernels::Cast<bf16, T>{y, static_cast<const T*>(x), n});
  });
}

// Of each process its own subtrees, the lowest first; then over processes in the order that they have for it.
std::unique_ptr<Communicator::Exchange> reduce(Communicator& processes, const Stream& stream,
                                               std::vector<std::vector<Tensor>>& lists) {
  std::vector<Communicator::Array> arrays;
  for (size_t a = 0; a < lists[0].size(); ++a) {
    Tensor& sum = lists[0][a];
    for (size_t k = 1; k < lists.size(); ++k)
      add_into(stream, sum.type(), sum.mutable_data(), sum.data(), lists[k][a].data(), sum.count());
    arrays.push_back({sum.mutable_data(), sum.count(), sum.type()});
  }
  return processes.reduce(stream, arrays);
}

}  // namespace

Leaves share_of(int64_t leaves, int rank, int ranks) { return {leaves * rank / ranks, leaves * (rank + 1) / ranks}; }

std::vector<Leaves> subtrees(int64_t leaves, Leaves held) {
  std::vector<Leaves> found;
  const std::function<void(Leaves)> visit = [&](Leaves node) {
    if (node.last <= held.first || node.first >= held.last) return;
    if (node.first >= held.first && node.last <= held.last) return found.push_back(node);
    visit({node.first, node.middle()});
    visit({node.middle(), node.last});
  };
  if (leaves > 0) visit({0, leaves});
  return found;
}

// Of every subtree of others, my slice; to others, theirs of mine; then sums of slices to all.
class SumOverProcesses::Bucket {
 public:
  Bucket(const SumOverProcesses& sum, int number, std::vector<size_t> numbers, const std::vector<Wire>& wires,
         const std::vector<std::vector<Tensor>>& lists)
      : processes_(sum.processes_),
        leaves_(sum.leaves_),
        number_(number),
        numbers_(std::move(numbers)),
        packing_(lists[0], wires),
        stream_(lists[0][0].stream()) {
    const int me = processes_.rank(), ranks = processes_.size();
    for (const std::vector<Tensor>& list : lists) mine_.push_back(packing_.pack(list));
    if (processes_.reduces(stream_) && std::ranges::count(wires, Wire::bf16) == 0) {
      adds_ = false;
      exchange_ = reduce(processes_, stream_, mine_);
      return;
    }
    sent_ = mine_;
    for (size_t k = 0; k < mine_.size(); ++k)
      for (size_t a = 0; a < mine_[k].size(); ++a)
        if (packing_.rounded(a)) {
          sent_[k][a] = cast(mine_[k][a], DType::bf16);
          mine_[k][a] = cast(sent_[k][a], mine_[k][a].type());
        }
    std::vector<Piece> sends, receives;
    for (int r = 0; r < ranks; ++r)
      for (size_t k = 0; k < sum.held_[size_t(r)].size(); ++k) {
        Node node{sum.held_[size_t(r)][k], {}, {}};
        for (size_t a = 0; a < mine_[0].size(); ++a) {
          const Leaves s = share_of(mine_[0][a].count(), me, ranks);
          if (r == me) {
            node.data.push_back(piece(me, mine_[k][a], s).data);
          } else {
            Tensor room = sent_[0][a].like({s.count()});
            receives.push_back(piece(r, room, {0, s.count()}));
            node.data.push_back(nullptr);
            node.rooms.push_back(std::move(room));
          }
        }
        nodes_.push_back(std::move(node));
      }
    for (int r = 0; r < ranks; ++r)
      for (size_t k = 0; r != me && k < sent_.size(); ++k)
        for (Tensor& array : sent_[k]) sends.push_back(piece(r, array, share_of(array.count(), r, ranks)));
    exchange_ = processes_.exchange(stream_, sends, receives, 2 * number_);
  }

  // Goes on as far as it can without waiting; true: it is done.
  bool go_on() {
    if (!exchange_) return true;
    if (!exchange_->done()) return false;
    if (std::exchange(adds_, false)) {
      add();
      return go_on();
    }
    exchange_ = nullptr;
    for (size_t a = 0; a < mine_[0].size(); ++a)
      if (!sent_.empty() && packing_.rounded(a)) mine_[0][a] = cast(sent_[0][a], mine_[0][a].type());
    sent_.clear();
    return true;
  }
  void wait_until_added() {
    if (adds_) wait_once();
  }
  void wait() {
    while (exchange_) wait_once();
  }
  bool under_way() const { return exchange_ != nullptr; }
  size_t last_number() const { return *std::ranges::max_element(numbers_); }
  void put_into(std::vector<Tensor>& results) const {
    std::vector<Tensor> list = packing_.unpack(mine_[0]);
    for (size_t i = 0; i < list.size(); ++i) results[numbers_[i]] = std::move(list[i]);
  }

 private:
  using Piece = Communicator::Piece;
  struct Node {
    Leaves leaves;
    std::vector<Tensor> rooms;  // for what others send
    std::vector<void*> data;    // where slices begin, once they are there
  };
  static Piece piece(int peer, Tensor& t, Leaves s) {
    const auto size = int64_t(size_of(t.type()));
    return {peer, static_cast<std::byte*>(t.mutable_data()) + s.first * size, size_t(s.count() * size)};
  }

  void wait_once() {
    exchange_->wait();
    go_on();
  }

  // Sums gather in the first of their leaves; the last one goes where the result is to stand.
  void add() {
    const int me = processes_.rank(), ranks = processes_.size();
    std::vector<Tensor>& result = mine_[0];
    for (Node& node : nodes_)
      for (size_t a = 0; a < node.rooms.size(); ++a) {
        if (packing_.rounded(a)) node.rooms[a] = cast(node.rooms[a], result[a].type());
        node.data[a] = node.rooms[a].mutable_data();
      }
    for (size_t a = 0; a < result.size(); ++a) {
      const Leaves s = share_of(result[a].count(), me, ranks);
      void* const place = piece(me, result[a], s).data;
      const std::function<void*(Leaves)> sum = [&](Leaves node) -> void* {
        for (const Node& held : nodes_)
          if (held.leaves == node) return held.data[a];
        void* const low = sum({node.first, node.middle()});
        void* const high = sum({node.middle(), node.last});
        void* const to = node == Leaves{0, leaves_} ? place : low;
        add_into(stream_, result[a].type(), to, low, high, s.count());
        return to;
      };
      sum({0, leaves_});
      if (packing_.rounded(a))
        round_into(stream_, result[a].type(), static_cast<bf16*>(piece(me, sent_[0][a], s).data), place, s.count());
    }
    nodes_.clear();
    mine_.resize(1);
    sent_.resize(1);
    std::vector<Piece> sends, receives;
    for (int r = 0; r < ranks; ++r)
      for (Tensor& array : sent_[0]) {
        if (r == me) break;
        sends.push_back(piece(r, array, share_of(array.count(), me, ranks)));
        receives.push_back(piece(r, array, share_of(array.count(), r, ranks)));
      }
    exchange_ = processes_.exchange(stream_, sends, receives, 2 * number_ + 1);
  }

  Communicator& processes_;
  int64_t leaves_;
  int number_;
  std::vector<size_t> numbers_;
  Packing packing_;
  const Stream stream_;
  std::vector<std::vector<Tensor>> mine_, sent_;  // by subtree; where they travel as they are, the same tensors
  std::vector<Node> nodes_;
  bool adds_ = true;  // next
  std::unique_ptr<Communicator::Exchange> exchange_;
};

SumOverProcesses::SumOverProcesses(Communicator& processes, int64_t leaves) : processes_(processes), leaves_(leaves) {
  for (int r = 0; r < processes.size(); ++r) held_.push_back(subtrees(leaves, share_of(leaves, r, processes.size())));
  if (std::ranges::any_of(held_, &std::vector<Leaves>::empty))
    throw ShapeError(
        fmt::format("a sum over {} processes of {} leaves: each holds one or more", processes.size(), leaves));
}

// After an error others may still write to what an unfinished exchange holds: it stays until the process ends.
SumOverProcesses::~SumOverProcesses() {
  for (std::unique_ptr<Bucket>& bucket : buckets_)
    if (bucket->under_way()) [[maybe_unused]]
      Bucket* const kept = bucket.release();
}

bool SumOverProcesses::one_subtree_each() const {
  return std::ranges::all_of(held_, [](const std::vector<Leaves>& own) { return own.size() == 1; });
}

void SumOverProcesses::add(size_t number, std::vector<Tensor> of_subtrees, Wire wire) {
  if (of_subtrees.size() != held_[size_t(processes_.rank())].size())
    throw ShapeError(fmt::format("a sum over processes: {} tensors for {} subtrees", of_subtrees.size(),
                                 held_[size_t(processes_.rank())].size()));
  bytes_ += of_subtrees[0].count() * int64_t(size_of(of_subtrees[0].type()));
  waiting_.push_back({number, std::move(of_subtrees), wire});
  if (processes_.size() == 1) return;
  if (bytes_ >= kBucket) begin();
  work_on();
}

void SumOverProcesses::work_on() {
  for (const auto& bucket : buckets_) bucket->go_on();
}

void SumOverProcesses::begin() {
  if (waiting_.empty()) return;
  const Range range("sum over processes");
  const NoGrad no_grad;
  std::vector<size_t> numbers;
  std::vector<Wire> wires;
  std::vector<std::vector<Tensor>> lists(waiting_[0].tensors.size());
  for (auto& [number, tensors, wire] : waiting_) {
    numbers.push_back(number);
    wires.push_back(wire);
    for (size_t k = 0; k < lists.size(); ++k) lists[k].push_back(std::move(tensors[k]));
  }
  waiting_.clear();
  bytes_ = 0;
  buckets_.push_back(std::make_unique<Bucket>(*this, int(buckets_.size()), std::move(numbers), wires, lists));
}

std::vector<Tensor> SumOverProcesses::finish() {
  const NoGrad no_grad;
  size_t count = 0;
  std::vector<Tensor> results;
  const auto room_for = [&](size_t number) {
    count = std::max(count, number + 1);
    results.resize(count);
  };
  if (processes_.size() == 1) {
    for (auto& [number, tensors, wire] : waiting_) {
      room_for(number);
      results[number] = std::move(tensors[0]);
    }
    return results;
  }
  begin();
  const Range range("sum over processes");
  for (const auto& bucket : buckets_) {
    bucket->wait_until_added();
    work_on();
  }
  for (const auto& bucket : buckets_) {
    bucket->wait();
    work_on();
    room_for(bucket->last_number());
    bucket->put_into(results);
  }
  return results;
}

std::vector<Tensor> sum_over_processes(Communicator& processes, int64_t leaves, std::vector<std::vector<Tensor>> sums,
                                       Wire wire) {
  SumOverProcesses sum(processes, leaves);
  for (size_t i = 0; !sums.empty() && i < sums[0].size(); ++i) {
    std::vector<Tensor> of_subtrees;
    for (std::vector<Tensor>& list : sums) of_subtrees.push_back(std::move(list[i]));
    sum.add(i, std::move(of_subtrees), wire);
  }
  return sum.finish();
}

}  // namespace firn
