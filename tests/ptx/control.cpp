// Barriers, what a warp does together, and leaving. Branches and calls are the parser's.
#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

Step barrier(Form& form) {
  if (form.take("warp")) {
    form.take("sync");
    form.instruction.flow = Instruction::Flow::warp_wide;
    form.instruction.member_mask = 0;
    return [](Warp&, uint32_t) {};
  }
  form.take("cta"), form.take("aligned"), form.take("all");
  if (!form.take("sync")) form.unknown();
  const Operand& id = form.operand(0);
  const bool some = form.instruction.operands.size() == 2;  // so many threads; else all
  if (id.kind != Operand::Kind::immediate || (id.value != 0) != some || id.value > 15) form.unknown();
  form.instruction.flow = Instruction::Flow::block_barrier;
  return {};
}

// Without a mask: the lanes that are at this instruction together.
Step active_mask(Form& form) {
  if (form.take_type() != "b32") form.unknown();
  return [d = form.operand(0)](Warp& w, uint32_t lanes) { for_lanes(lanes, [&](int i) { w.write(d, i, lanes); }); };
}

// "shfl.sync d|p, a, b, c, mask": p says whether the lane that is read is in the segment.
Step shuffle(Form& form) {
  if (!form.take("sync") || form.take_type() != "b32") form.unknown();
  const int mode = form.take_one<4>({"idx", "up", "down", "bfly"});
  form.instruction.flow = Instruction::Flow::warp_wide;
  form.instruction.member_mask = 4;
  return [=, d = form.operand(0), a = form.operand(1), b = form.operand(2), c = form.operand(3)](Warp& w,
                                                                                                 uint32_t lanes) {
    const Operand p = d.list.empty() ? Operand{} : d.list.front();
    uint32_t values[32] = {}, result[32];
    for_lanes(lanes, [&](int i) { values[i] = w.read<uint32_t>(a, i); });
    for_lanes(lanes, [&](int i) {
      const int by = static_cast<int>(w.read<uint32_t>(b, i) & 31), clamp = static_cast<int>(w.read<uint32_t>(c, i));
      const int segment = clamp >> 8 & 31, low = i & segment, high = low | (clamp & 31 & ~segment);
      int from = mode == 0 ? low | (by & ~segment) : mode == 1 ? i - by : mode == 2 ? i + by : i ^ by;
      const bool within = mode == 1 ? from >= high : from <= high;
      if (!within) from = i;
      w.write(p, i, within);
      if (!(lanes >> from & 1)) w.report("shuffle: reads a lane outside the mask", i);
      result[i] = values[from];
    });
    for_lanes(lanes, [&](int i) { w.write(d, i, result[i]); });
  };
}

Step vote(Form& form) {
  form.take("sync");
  const int mode = form.take_one<4>({"all", "any", "uni", "ballot"});
  form.take_type();
  form.instruction.flow = Instruction::Flow::warp_wide;
  form.instruction.member_mask = 2;
  if (mode < 0) form.unknown();
  return [=, d = form.operand(0), a = form.operand(1)](Warp& w, uint32_t lanes) {
    uint32_t yes = 0;
    for_lanes(lanes, [&](int i) { yes |= uint32_t{w.read<bool>(a, i)} << i; });
    for_lanes(lanes, [&](int i) {
      if (mode == 3)
        w.write(d, i, yes);
      else
        w.write(d, i, mode == 0 ? yes == lanes : mode == 1 ? yes != 0 : yes == 0 || yes == lanes);
    });
  };
}

}  // namespace

void add_control(Table& table) {
  table.insert({
      {"bar", barrier},
      {"barrier", barrier},
      {"shfl", shuffle},
      {"vote", vote},
      {"activemask", active_mask},
      {"ret", [](Form& f) -> Step { return f.take("uni"), f.instruction.flow = Instruction::Flow::leave, Step{}; }},
      {"exit", [](Form& f) -> Step { return f.instruction.flow = Instruction::Flow::leave, Step{}; }},
  });
}

}  // namespace firn::ptx
