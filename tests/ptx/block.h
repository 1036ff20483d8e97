// The warps of one block, and what they wait for each other with.
#pragma once
#include <algorithm>

#include "tests/ptx/executor.h"

namespace firn::ptx {

class Block {
 public:
  Block(const Module& module, const Function& entry, const Launch& launch, Checker& checker)
      : module(module), launch(launch), checker(checker), entry(entry), bulk(checker) {
    const uint64_t threads = launch.block.count();
    for (uint64_t first = 0; first < threads; first += 32)
      warps_.emplace_back(*this, static_cast<uint32_t>(first),
                          static_cast<uint32_t>(std::min<uint64_t>(32, threads - first)));
  }

  void run(Dim3 at) {
    index = at;
    barriers = 0;
    checker.begin_block(dynamic_shared() + launch.dynamic_shared);
    bulk.begin(warps_.size());
    warpgroups.assign((warps_.size() + 3) / 4, {});
    free_registers = 0;
    for (Warp& w : warps_) w.begin(entry.first);
    uint64_t before;
    do {
      before = progress + bulk.progress();
      for (Warp& w : warps_) w.run();
      pass_barriers();
    } while (progress + bulk.progress() != before);
    for (Warp& w : warps_) w.end();
    bulk.end();
  }

  // Where the launch's own shared memory begins.
  uint64_t dynamic_shared() const {
    const uint64_t to = module.dynamic_alignment;
    return (entry.shared_bytes + to - 1) / to * to;
  }

  const Module& module;
  const Launch& launch;
  Checker& checker;
  const Function& entry;
  Dim3 index;
  uint32_t barriers = 0;
  uint64_t progress = 0;  // counts what may end somebody's waiting
  Bulk bulk;

  // What the four have done together: instructions and their operands, and how far each has come.
  struct Warpgroup {
    std::vector<std::pair<int, uint64_t>> steps;
    std::array<size_t, 4> come = {};
  };
  std::vector<Warpgroup> warpgroups;
  bool is_whole(size_t warpgroup) const { return warps_.size() >= 4 * warpgroup + 4; }
  uint64_t free_registers = 0;  // that no warp holds, of those that the block was given

 private:
  void pass_barriers() {
    bool all = true;
    for (const Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) all &= w.state_[lane] == Warp::State::done || waits_at(w, lane, 0);
    if (all) pass_all();
    for (uint64_t id = 1; id < 16; ++id) pass_some(id);
  }

  const Instruction& instruction_of(const Warp& w, int lane) const {
    return module.code[static_cast<size_t>(w.pc_[lane])];
  }
  bool waits_at(const Warp& w, int lane, uint64_t id) const {
    return w.state_[lane] == Warp::State::at_block_barrier && instruction_of(w, lane).operands[0].value == id;
  }
  void go_on(Warp& w, int lane) {
    w.state_[lane] = Warp::State::running;
    ++w.pc_[lane];
    ++progress;
  }

  // A barrier of some threads, whose number they give: what each of their warps knows, all know then.
  void pass_some(uint64_t id) {
    std::vector<Warp*> warps;
    uint64_t here = 0, wanted = 0;
    for (Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) {
        if (!waits_at(w, lane, id)) continue;
        if (warps.empty() || warps.back() != &w) warps.push_back(&w);
        wanted = w.read<uint32_t>(instruction_of(w, lane).operands[1], lane);
        ++here;
      }
    if (here == 0 || here < wanted) return;
    if (here > wanted) warps.front()->report("barrier: more threads come than it is for", 0);
    Knowledge shared;
    for (Warp* w : warps) {
      ++w->barriers_;
      w->release(shared);
    }
    for (Warp* w : warps) {
      w->acquire(shared);
      for (int lane = 0; lane < 32; ++lane)
        if (waits_at(*w, lane, id)) go_on(*w, lane);
    }
  }

  // Lets everybody on when all wait.
  void pass_all() {
    int at = -1;
    bool left = false, apart = false;
    Warp* waiting = nullptr;
    for (Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) {
        if (!(w.all_ >> lane & 1)) continue;
        left |= w.state_[lane] == Warp::State::done;
        if (w.state_[lane] != Warp::State::at_block_barrier) continue;
        apart |= at >= 0 && at != w.pc_[lane];
        at = w.pc_[lane];
        waiting = &w;
      }
    if (!waiting) return;
    waiting->current_ = at;
    const int lane = std::countr_zero(waiting->all_);
    if (left) waiting->report("barrier: threads that have left never come", lane);
    if (apart) waiting->report("barrier: the threads of a block wait at different ones", lane);
    ++barriers;
    for (Warp& w : warps_)
      for (int i = 0; i < 32; ++i)
        if (w.state_[i] == Warp::State::at_block_barrier) go_on(w, i);
  }

  std::vector<Warp> warps_;
};

}  // namespace firn::ptx
