#include "engine/tree_sum.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/range.h"
#include "kernels/ops/elementwise.h"

namespace firn {
namespace {

constexpr int64_t kSmall = 16384;  // numbers; tensors of fewer travel together

// Lists of tensors as fewer, larger ones, which nobody else sees: the small ones of each type behind each other.
class Packing {
 public:
  explicit Packing(const std::vector<Tensor>& like) {
    for (size_t i = 0; i < like.size(); ++i) {
      shapes_.push_back(like[i].shape());
      const DType type = like[i].type();
      if (type != DType::f32 && type != DType::f64)
        throw ShapeError(fmt::format("a sum over processes of {}; f32 or f64 is expected", name_of(type)));
      const bool small = like[i].count() < kSmall;
      auto pack = std::ranges::find_if(packs_, [&](const Pack& p) { return small && p.small && p.type == type; });
      if (pack == packs_.end()) pack = packs_.insert(pack, {.type = type, .small = small, .members = {}});
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

// Of each process its own subtrees, the lowest first; then over processes in the order that they have for it.
void reduce(Communicator& processes, const Stream& stream, std::vector<std::vector<Tensor>>& lists) {
  std::vector<Communicator::Array> arrays;
  for (size_t a = 0; a < lists[0].size(); ++a) {
    Tensor& sum = lists[0][a];
    for (size_t k = 1; k < lists.size(); ++k)
      add_into(stream, sum.type(), sum.mutable_data(), sum.data(), lists[k][a].data(), sum.count());
    arrays.push_back({sum.mutable_data(), sum.count(), sum.type()});
  }
  processes.reduce(stream, arrays);
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

std::vector<Tensor> sum_over_processes(Communicator& processes, int64_t leaves, std::vector<std::vector<Tensor>> sums) {
  const int me = processes.rank(), ranks = processes.size();
  if (ranks == 1) return std::move(sums.at(0));
  const Range range("sum over processes");
  const NoGrad no_grad;
  std::vector<std::vector<Leaves>> held;
  for (int r = 0; r < ranks; ++r) held.push_back(subtrees(leaves, share_of(leaves, r, ranks)));
  if (sums.size() != held[size_t(me)].size() || std::ranges::any_of(held, &std::vector<Leaves>::empty))
    throw ShapeError(fmt::format("a sum over processes: {} lists for {} subtrees, of {} leaves on {} processes",
                                 sums.size(), held[size_t(me)].size(), leaves, ranks));
  if (sums[0].empty()) return {};
  const Packing packing(sums[0]);
  std::vector<std::vector<Tensor>> mine;
  for (std::vector<Tensor>& list : sums) {
    mine.push_back(packing.pack(list));
    list.clear();
  }
  sums.clear();
  std::vector<Tensor>& result = mine[0];
  const Stream stream = result[0].stream();
  if (processes.reduces(stream)) {
    reduce(processes, stream, mine);
    return packing.unpack(result);
  }
  using Piece = Communicator::Piece;
  const auto piece = [&](int peer, Tensor& t, Leaves s) {
    const auto size = int64_t(size_of(t.type()));
    return Piece{peer, static_cast<std::byte*>(t.mutable_data()) + s.first * size, size_t(s.count() * size)};
  };

  // Of every subtree of others, my slice; to others, theirs of mine.
  std::vector<Piece> sends, receives;
  struct Held {
    Leaves leaves;
    std::vector<Tensor> slices;  // of others
    std::vector<void*> data;     // where they begin
  };
  std::vector<Held> nodes;
  for (int r = 0; r < ranks; ++r)
    for (size_t k = 0; k < held[size_t(r)].size(); ++k) {
      Held node{held[size_t(r)][k], {}, {}};
      for (size_t a = 0; a < result.size(); ++a) {
        const Leaves s = share_of(result[a].count(), me, ranks);
        if (r == me) {
          node.data.push_back(piece(me, mine[k][a], s).data);
        } else {
          Tensor room = result[a].like({s.count()});
          receives.push_back(piece(r, room, {0, s.count()}));
          node.data.push_back(room.mutable_data());
          node.slices.push_back(std::move(room));
        }
      }
      nodes.push_back(std::move(node));
    }
  for (int r = 0; r < ranks; ++r)
    for (size_t k = 0; r != me && k < mine.size(); ++k)
      for (size_t a = 0; a < result.size(); ++a)
        sends.push_back(piece(r, mine[k][a], share_of(result[a].count(), r, ranks)));
  processes.exchange(stream, sends, receives);

  // Sums gather in the first of their leaves; the last one goes where the result is to stand.
  for (size_t a = 0; a < result.size(); ++a) {
    const Leaves s = share_of(result[a].count(), me, ranks);
    void* const place = piece(me, result[a], s).data;
    const std::function<void*(Leaves)> sum = [&](Leaves node) -> void* {
      for (const Held& h : nodes)
        if (h.leaves == node) return h.data[a];
      void* const low = sum({node.first, node.middle()});
      void* const high = sum({node.middle(), node.last});
      void* const to = node == Leaves{0, leaves} ? place : low;
      add_into(stream, result[a].type(), to, low, high, s.count());
      return to;
    };
    sum({0, leaves});
  }
  nodes.clear();
  mine.resize(1);

  sends.clear();
  receives.clear();
  for (int r = 0; r < ranks; ++r)
    for (size_t a = 0; r != me && a < result.size(); ++a) {
      sends.push_back(piece(r, result[a], share_of(result[a].count(), me, ranks)));
      receives.push_back(piece(r, result[a], share_of(result[a].count(), r, ranks)));
    }
  processes.exchange(stream, sends, receives);
  return packing.unpack(result);
}

}  // namespace firn
