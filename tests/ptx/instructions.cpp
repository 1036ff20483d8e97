#include "tests/ptx/form.h"

namespace firn::ptx {

void bind(Instruction& instruction) {
  static const Table table = [] {
    Table t;
    for (const auto add : {add_arithmetic, add_bits, add_conversion, add_memory, add_control, add_copies, add_matrix,
                           add_bulk, add_warpgroup})
      add(t);
    return t;
  }();
  Form form(instruction);
  const auto row = table.find(form.name);
  if (row == table.end()) form.unknown();
  instruction.step = row->second(form);
  form.finish();
}

}  // namespace firn::ptx
