// What a warpgroup does with a matrix (PTX ISA, "wgmma.mma_async"). Warp i of it has rows 16 i.. of A [64,16] and
// D [64,N], which lie in its registers as A and, eight columns after eight, C do in matrix.cpp. B [16,N] lies in shared
// memory, a column's 16 elements behind each other (K-major), where a descriptor says:
//   bits 0-13 start / 16, 16-29 leading offset / 16 (not used with a swizzle), 32-45 stride / 16: from eight columns to
//   the next eight, 49-51 base offset, 62-63 swizzle, 1 is 128 bytes
#include "tests/ptx/form.h"
#include "tests/ptx/sums.h"

namespace firn::ptx {
namespace {

using Piece = std::pair<uint64_t, size_t>;

// Where the columns of B are: two chunks of 16 bytes each, which the swizzle moves within rows of 128 bytes.
std::vector<Piece> columns_of(uint64_t descriptor, int N, Warp& w) {
  const uint64_t start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  constexpr uint64_t known = 0x3fff | uint64_t{0x3fff} << 16 | uint64_t{0x3fff} << 32 | uint64_t{1} << 62;
  if (descriptor >> 62 != 1 || descriptor & ~known)
    w.report("wgmma: a descriptor that this interpreter does not know", 0);
  if (start >> 7 & 7 || stride % 1024) w.report("wgmma: rows of 128 bytes that do not begin at a multiple of 1024", 0);
  std::vector<Piece> pieces;
  for (uint64_t n = 0; n < static_cast<uint64_t>(N); ++n)
    for (uint64_t half = 0; half < 32; half += 16) {
      const uint64_t at = start + n / 8 * stride + n % 8 * 128 + half;
      pieces.emplace_back(at ^ (at >> 7 & 7) << 4, 16);
    }
  return pieces;
}

// d = a b + d, or a b.
void multiply(Warp& w, uint32_t lanes, const std::vector<Operand>& d, const std::vector<Operand>& a,
              const std::vector<Piece>& columns, bool accumulate) {
  std::vector<std::array<Factor, 16>> right(columns.size() / 2);
  for (size_t i = 0; i < columns.size(); ++i) {
    uint16_t bits[8] = {};
    if (const std::byte* p = w.memory(Space::shared, columns[i].first, 16, Access::read, 0)) std::memcpy(bits, p, 16);
    for (size_t k = 0; k < 8; ++k) right[i / 2][i % 2 * 8 + k] = std::bit_cast<bf16>(bits[k]);
  }
  Factor left[16][16];
  for_lanes(lanes, [&](int i) {
    for (size_t r = 0; r < 4; ++r) {
      const auto v = w.read<Bf16x2>(a[r], i);
      Factor* at = &left[static_cast<size_t>(i) / 4 + r % 2 * 8][static_cast<size_t>(i) % 4 * 2 + r / 2 * 8];
      at[0] = v.low, at[1] = v.high;
    }
  });
  for_lanes(lanes, [&](int i) {
    for (size_t r = 0; r < d.size(); ++r) {
      const Factor* x = left[static_cast<size_t>(i) / 4 + r / 2 % 2 * 8];
      const Factor* y = right[r / 4 * 8 + static_cast<size_t>(i) % 4 * 2 + r % 2].data();
      w.write(d[r], i, add_products<kWgmma>(accumulate ? w.read<float>(d[r], i) : 0.0f, x, y));
    }
  });
}

Step product(Form& form) {
  for (const char* type : {"f32", "bf16", "bf16"})
    if (form.take_type() != type) form.unknown();
  int N = 8;
  while (N <= 256 && !form.take(fmt::format("m64n{}k16", N))) N += 8;
  const auto &d = form.operand(0).list, &a = form.operand(1).list;
  if (N > 256 || d.size() != static_cast<size_t>(N) / 2 || a.size() != 4) form.unknown();
  for (const auto& [i, value] : {std::pair{4, 1}, {5, 1}, {6, 0}})  // signs of a and b, b transposed
    if (form.operand(static_cast<size_t>(i)).value != static_cast<uint64_t>(value)) form.unknown();
  return [=, b = form.operand(2), accumulate = form.operand(3)](Warp& w, uint32_t lanes) {
    if (!w.meet(w.read<uint64_t>(b, 0) ^ uint64_t{w.read<bool>(accumulate, 0)} << 63)) return;
    Warp::Product product{{}, {}, columns_of(w.read<uint64_t>(b, 0), N, w)};
    for (const Operand& o : d) product.sums.push_back(o.reg);
    for (const Operand& o : a) product.left.push_back(o.reg);
    const auto columns = product.right;
    w.start_product(std::move(product), [&] { multiply(w, lanes, d, a, columns, w.read<bool>(accumulate, 0)); });
  };
}

Step warpgroup(Form& form) {
  const int what = form.take_one<4>({"fence", "commit_group", "wait_group", "mma_async"});
  if (what < 0 || !form.take("sync") || !form.take("aligned")) form.unknown();
  form.instruction.flow = Instruction::Flow::warp_wide;
  if (what == 3) return product(form);
  const auto together = [](auto step) {
    return [step](Warp& w, uint32_t) {
      if (w.meet(0)) step(w);
    };
  };
  if (what == 0) return together([](Warp& w) { w.fence_products(); });
  if (what == 1) return together([](Warp& w) { w.commit_products(); });
  return together([newer = form.operand(0).value](Warp& w) { w.await_products(newer); });
}

Step set_registers(Form& form) {
  const bool more = form.take("inc");
  if ((!more && !form.take("dec")) || !form.take("sync") || !form.take("aligned")) form.unknown();
  const uint64_t count = form.operand(0).value;
  if (form.take_type() != "u32" || count < 24 || count > 256 || count % 8) form.unknown();
  form.instruction.flow = Instruction::Flow::warp_wide;
  return [=](Warp& w, uint32_t) { w.set_registers(count, more); };
}

}  // namespace

void add_warpgroup(Table& table) { table.insert({{"wgmma", warpgroup}, {"setmaxnreg", set_registers}}); }

}  // namespace firn::ptx
