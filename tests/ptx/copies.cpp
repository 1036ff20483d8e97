// Asynchronous copies to shared memory (PTX ISA, "cp.async"). When they arrive is the warp's affair.
#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

// "cp.async.cg.shared.global [to], [from], bytes, taken": what is not taken is zero.
Step copy(Form& form) {
  const bool cached = form.take("ca");
  if (!cached && !form.take("cg")) form.unknown();
  if (!form.take("shared") && !form.take("shared::cta")) form.unknown();
  if (!form.take("global")) form.unknown();
  for (const char* hint : {"L2::64B", "L2::128B", "L2::256B"}) form.take(hint);
  const Operand to = form.operand(0), from = form.operand(1);
  const uint64_t bytes = form.operand(2).value;
  if (bytes != 16 && !(cached && (bytes == 4 || bytes == 8))) form.unknown();
  const Operand taken = form.instruction.operands.size() > 3 ? form.operand(3) : form.operand(2);
  return [=](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) {
      w.copy_later((w.read<uint64_t>(to, i) & 0xffffffff) + static_cast<uint64_t>(to.offset),
                   w.read<uint64_t>(from, i) + static_cast<uint64_t>(from.offset), bytes, w.read<uint32_t>(taken, i),
                   i);
    });
  };
}

Step asynchronous(Form& form) {
  if (!form.take("async")) form.unknown();
  if (form.take("bulk")) return bulk_copy(form);
  if (form.take("commit_group"))
    return [](Warp& w, uint32_t lanes) { for_lanes(lanes, [&](int i) { w.commit_copies(i); }); };
  const bool all = form.take("wait_all");
  if (!all && !form.take("wait_group")) return copy(form);
  const int newer = all ? -1 : static_cast<int>(form.operand(0).value);
  return [newer](Warp& w, uint32_t lanes) { for_lanes(lanes, [&](int i) { w.await_copies(newer, i); }); };
}

}  // namespace

void add_copies(Table& table) { table.insert({{"cp", asynchronous}}); }

}  // namespace firn::ptx
