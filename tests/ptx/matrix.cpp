// What a warp does with a matrix (PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type", "ldmatrix").
// Of lane i, g = i / 4 and t = i % 4; a register holds two bf16, the left or upper one in its low half:
//   A [16,16]: a0 = (g, 2t..), a1 = (g + 8, 2t..), a2 = (g, 2t + 8..), a3 = (g + 8, 2t + 8..)
//   B [16,8]:  b0 = (2t.., g), b1 = (2t + 8.., g), two neighbours in a column
//   C [16,8]:  c0, c1 = (g, 2t), (g, 2t + 1), c2, c3 = (g + 8, 2t), (g + 8, 2t + 1)
#include "tests/ptx/form.h"
#include "tests/ptx/sums.h"

namespace firn::ptx {
namespace {

// All lanes of the warp, and all at the same instruction.
void whole_warp(Form& form) {
  if (!form.take("sync") || !form.take("aligned")) form.unknown();
  form.instruction.flow = Instruction::Flow::warp_wide;
}

const std::vector<Operand>& fragment(const Form& form, size_t i, size_t registers) {
  const std::vector<Operand>& list = form.operand(i).list;
  if (list.size() != registers) form.unknown();
  return list;
}

// d = a b + c.
Step multiply_matrices(Form& form) {
  whole_warp(form);
  for (const char* part : {"m16n8k16", "row", "col"})
    if (!form.take(part)) form.unknown();
  for (const char* type : {"f32", "bf16", "bf16", "f32"})
    if (form.take_type() != type) form.unknown();
  return [d = fragment(form, 0, 4), a = fragment(form, 1, 4), b = fragment(form, 2, 2), c = fragment(form, 3, 4)](
             Warp& w, uint32_t lanes) {
    Factor left[16][16], right[8][16];  // right: column by column
    for_lanes(lanes, [&](int i) {
      const int g = i / 4, t = i % 4;
      for (int r = 0; r < 4; ++r) {
        const auto v = w.read<Bf16x2>(a[static_cast<size_t>(r)], i);
        Factor* at = &left[g + r % 2 * 8][2 * t + r / 2 * 8];
        at[0] = v.low, at[1] = v.high;
      }
      for (int r = 0; r < 2; ++r) {
        const auto v = w.read<Bf16x2>(b[static_cast<size_t>(r)], i);
        Factor* at = &right[g][2 * t + r * 8];
        at[0] = v.low, at[1] = v.high;
      }
    });
    for_lanes(lanes, [&](int i) {
      float result[4];
      for (int r = 0; r < 4; ++r)
        result[r] = add_products<kMma>(w.read<float>(c[static_cast<size_t>(r)], i), left[i / 4 + r / 2 * 8],
                                       right[i % 4 * 2 + r % 2]);
      for (size_t r = 0; r < 4; ++r) w.write(d[r], i, result[r]);
    });
  };
}

// Matrix m of 8x8 has its rows, of 16 bytes, where the lanes 8m..8m+7 point. Lane i receives (g, 2t..) of each, or
// (2t.., g) when transposed. Each lane is checked as the reader of what it receives.
Step load_matrices(Form& form) {
  whole_warp(form);
  if (!form.take("m8n8")) form.unknown();
  const int log = form.take_one<3>({"x1", "x2", "x4"});
  const bool transposed = form.take("trans");
  if (log < 0 || form.take_type() != "b16" || take_space(form) != Space::shared) form.unknown();
  const auto& d = fragment(form, 0, size_t{1} << log);
  return [d, address = form.operand(1), transposed](Warp& w, uint32_t lanes) {
    uint64_t rows[32];
    for_lanes(lanes, [&](int i) {
      rows[i] = (w.read<uint64_t>(address, i) & 0xffffffff) + static_cast<uint64_t>(address.offset);
      if (i < static_cast<int>(8 * d.size()) && rows[i] % 16) w.report("misaligned access", i);
    });
    const auto element = [&](size_t m, int row, int column, int lane) {
      uint16_t v = 0;
      const uint64_t at = rows[m * 8 + static_cast<size_t>(row)] + 2 * static_cast<uint64_t>(column);
      if (const std::byte* p = w.memory(Space::shared, at, 2, Access::read, lane)) std::memcpy(&v, p, 2);
      return v;
    };
    for_lanes(lanes, [&](int i) {
      const int g = i / 4, t = i % 4;
      for (size_t m = 0; m < d.size(); ++m) {
        const uint32_t low = transposed ? element(m, 2 * t, g, i) : element(m, g, 2 * t, i);
        const uint32_t high = transposed ? element(m, 2 * t + 1, g, i) : element(m, g, 2 * t + 1, i);
        w.write(d[m], i, low | high << 16);
      }
    });
  };
}

}  // namespace

void add_matrix(Table& table) { table.insert({{"mma", multiply_matrices}, {"ldmatrix", load_matrices}}); }

}  // namespace firn::ptx
