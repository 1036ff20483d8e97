// Copies of weights in other forms, packed for a library or rounded for tensor cores, and the only place that knows
// whether they are current.
//
//   copy           made                           current                                gone
//   entry          at its first use               until the weights are written or an    at the next use after that,
//                                                 epoch begins                           or with its scope
//   rounded, lent  it is an entry in bf16 of      in its epoch; made anew in place at    with the weights, or when
//                  weights with an optimiser,     the next use after a write             another takes its place
//                  outside of scopes
//   rounded, kept  the optimiser has written it   always: the optimiser writes it with   with the weights: recorded
//                                                 the weights; after a write by others   phases read it where it lies
//                                                 made anew in place, at the next use
//                                                 or by refresh() before a replay
//
// Whoever writes weights says so: Tensor::mutable_data by written(), the optimiser, besides, by rewritten(). What a
// replay writes no count on the host sees, so an epoch begins after each (engine/replay.cpp).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv/conv.h"

namespace firn::kernels {

class WeightCache : public std::enable_shared_from_this<WeightCache> {
 public:
  // An entry: what `make` derives from the weights, by name.
  std::shared_ptr<void> entry(const std::string& name, const std::function<std::shared_ptr<void>()>& make);
  // Weights w as [O,KH,KW,I/groups] in p.type (f32 or bf16) with the gain in them; an entry or the rounded copy.
  std::shared_ptr<void> packed(const Stream&, const ConvProblem& p, const void* w);

  void written() { ++version_; }
  void expect_optimizer() { has_optimizer_ = true; }  // that will keep the rounded copy current
  // The optimiser has written the weights; it also writes gain times them in bf16 to `data`, which is null for no copy.
  struct Rounded {
    bf16* data;
    float gain;
  };
  Rounded rewritten();
  void refresh();  // makes the rounded copy current

 private:
  friend class WeightCacheScope;
  void begin_use();

  uint64_t version_ = 0;  // of the weights
  std::map<std::string, std::shared_ptr<void>> entries_;
  uint64_t entries_version_ = 0, entries_epoch_ = 0;  // that they were made in
  bool has_optimizer_ = false;
  struct {
    std::shared_ptr<void> data;
    Stream stream;
    const void* weights = nullptr;
    int64_t count = 0;
    double gain = 1;
    uint64_t version = 0, epoch = 0;
    bool kept = false;
  } rounded_;
};

// Begins an epoch: weights may have changed without a word.
void forget_weight_caches();

// While it lives, which is an epoch of its own, entries are made anew and the rounded copy is no entry, so that what
// happens does not depend on what happened before.
class WeightCacheScope {
 public:
  WeightCacheScope();
  ~WeightCacheScope();
  WeightCacheScope(const WeightCacheScope&) = delete;
  WeightCacheScope& operator=(const WeightCacheScope&) = delete;
  void drop() const;  // the entries that were made meanwhile, as its end does
  const std::vector<std::weak_ptr<WeightCache>>& used() const { return used_; }

 private:
  friend class WeightCache;
  std::vector<std::weak_ptr<WeightCache>> used_;
};

}  // namespace firn::kernels
