#include "tests/ptx/bulk.h"

#include <algorithm>

#include "tests/ptx/form.h"

namespace firn::ptx {

size_t TensorMapFields::box_bytes() const {
  size_t bytes = element_bytes;
  for (size_t i = 0; i < rank; ++i) bytes *= box[i];
  return bytes;
}

namespace {

// Calls f(to, from, bytes) for the pieces of a box, from 0 where it is outside the tensor. In shared memory the rows of
// the box follow each other, and the number of a 16-byte chunk within 128 bytes is XORed with that of the row of 128
// bytes, modulo 8.
template <class F>
void for_pieces(uint64_t to, const TensorMapFields& m, const std::array<int32_t, 5>& first, F f) {
  const uint64_t row_bytes = uint64_t{m.box[0]} * m.element_bytes;
  const int64_t start = int64_t{first[0]} * m.element_bytes, width = int64_t{m.size[0]} * m.element_bytes;
  const int64_t piece = start % 16 == 0 && width % 16 == 0 ? 16 : m.element_bytes;
  const uint64_t rows = m.box_bytes() / row_bytes;
  for (uint64_t row = 0; row < rows; ++row) {
    uint64_t from = m.address, rest = row;
    bool inside = true;
    for (size_t i = 1; i < m.rank; ++i) {
      const int64_t at = first[i] + static_cast<int64_t>(rest % m.box[i]);
      rest /= m.box[i];
      inside &= at >= 0 && at < m.size[i];
      from += static_cast<uint64_t>(at) * m.stride[i];
    }
    for (int64_t byte = 0; byte < static_cast<int64_t>(row_bytes); byte += piece) {
      const uint64_t place = to + row * row_bytes + static_cast<uint64_t>(byte);
      const bool any = inside && start + byte >= 0 && start + byte < width;
      f(place ^ (place >> 7 & 7) << 4, any ? from + static_cast<uint64_t>(start + byte) : 0,
        static_cast<size_t>(piece));
    }
  }
}

}  // namespace

void Bulk::begin(size_t warps) {
  barriers_.clear();
  groups_ = static_cast<uint32_t>(warps);
}

void Bulk::end() {
  for (const auto& [address, barrier] : barriers_)
    for (const Copy& c : barrier.copies)
      checker_.report("bulk copy: the block ends before it has arrived", c.actor, c.place);
}

Bulk::Barrier* Bulk::find(Warp& w, uint64_t address, int lane) {
  w.memory(Space::shared, address, 8, Access::read, lane);  // its start must be known
  const auto found = barriers_.find(address);
  if (found != barriers_.end()) return &found->second;
  w.report("mbarrier: there is none at this address", lane);
  return nullptr;
}

void Bulk::init(Warp& w, uint64_t address, uint32_t count, int lane) {
  w.memory(Space::shared, address, 8, Access::write, lane);
  if (count == 0 || count >= 1u << 20) w.report("mbarrier: a count of arrivals that it cannot have", lane);
  barriers_[address] = {.count = count, .missing = count, .group = groups_++, .by = w.actor(lane).thread};
}

void Bulk::make_known(uint32_t thread) {
  for (auto& [address, barrier] : barriers_) barrier.known |= barrier.by == thread;
}

// Ends the phase if all has come that it waits for.
bool Bulk::finish(Barrier& b, Warp& w, int lane) {
  uint64_t coming = 0;
  for (const Copy& c : b.copies) coming += c.map.box_bytes();
  if (b.missing > 0 || coming < b.announced) return false;
  if (coming > b.announced) w.report("mbarrier: more bytes come than were announced", lane);
  for (const Copy& c : b.copies) land(c, b);
  b.copies.clear();
  b.arrived.resize(std::max<size_t>(b.arrived.size(), b.group + 1));
  b.arrived[b.group] = ++b.phase;
  b.over = b.arrived;
  b.missing = b.count;
  b.announced = 0;
  ++progress_;
  return true;
}

void Bulk::arrive(Warp& w, uint64_t address, uint32_t bytes, int lane) {
  Barrier* const b = find(w, address, lane);
  if (!b) return;
  if (b->missing == 0 && !finish(*b, w, lane)) {
    w.report("mbarrier: more arrivals than it is for", lane);
    return;
  }
  --b->missing;
  b->announced += bytes;
  w.release(b->arrived);
  ++progress_;
}

bool Bulk::over(Warp& w, uint64_t address, uint32_t parity, int lane) {
  Barrier* const b = find(w, address, lane);
  if (!b) return true;
  finish(*b, w, lane);
  if (b->phase % 2 == parity) return false;
  w.acquire(b->over);
  return true;
}

void Bulk::copy(Warp& w, uint64_t to, const TensorMapFields& map, const std::vector<int32_t>& first, uint64_t barrier,
                int lane) {
  Barrier* const b = find(w, barrier, lane);
  if (!b) return;
  if (!b->known) w.report("bulk copy: no fence since its mbarrier was initialised", lane);
  if (to % 128) w.report("misaligned access", lane);
  Copy copy{to, map, {}, w.actor(lane), {}, w.place()};
  std::copy(first.begin(), first.end(), copy.first.begin());
  w.release(copy.knows);
  ++copy.knows[copy.actor.thread / 32];  // it comes after all that its thread has done
  for_pieces(to, map, copy.first, [&](uint64_t place, uint64_t from, size_t bytes) {
    if (from) w.memory(Space::global, from, bytes, Access::read, lane);
    if (w.memory(Space::shared, place, bytes, Access::write, lane)) checker_.set_in_flight(place, bytes, true);
  });
  b->copies.push_back(std::move(copy));
  ++progress_;
}

void Bulk::land(const Copy& c, const Barrier& b) {
  const Actor writer{b.group * 32, c.actor.block_barriers, b.phase, &c.knows, true};
  Actor reader = c.actor;
  reader.knows = &c.knows;
  for_pieces(c.to, c.map, c.first, [&](uint64_t place, uint64_t from, size_t bytes) {
    std::array<std::byte, 16> data{};
    if (from)
      if (const std::byte* p = checker_.touch(Space::global, from, bytes, Access::read, reader, c.place))
        std::copy_n(p, bytes, data.data());
    checker_.set_in_flight(place, bytes, false);
    if (std::byte* p = checker_.touch(Space::shared, place, bytes, Access::write, writer, c.place))
      std::copy_n(data.data(), bytes, p);
  });
}

namespace {

uint64_t shared_address(const Warp& w, const Operand& o, int lane) {
  return (w.read<uint64_t>(o, lane) & 0xffffffff) + static_cast<uint64_t>(o.offset);
}

Step barrier(Form& form) {
  const auto shared = [&] {
    if (take_space(form) != Space::shared || form.take_type() != "b64") form.unknown();
  };
  if (form.take("init")) {
    shared();
    return [a = form.operand(0), count = form.operand(1)](Warp& w, uint32_t lanes) {
      for_lanes(lanes, [&](int i) { w.bulk().init(w, shared_address(w, a, i), w.read<uint32_t>(count, i), i); });
    };
  }
  if (form.take("arrive")) {
    const bool announces = form.take("expect_tx");
    shared();
    if (form.operand(0).kind != Operand::Kind::none || form.instruction.operands.size() != (announces ? 3 : 2))
      form.unknown();
    return [a = form.operand(1), bytes = announces ? form.operand(2) : Operand{.kind = Operand::Kind::immediate}](
               Warp& w, uint32_t lanes) {
      for_lanes(lanes, [&](int i) { w.bulk().arrive(w, shared_address(w, a, i), w.read<uint32_t>(bytes, i), i); });
    };
  }
  if (!form.take("try_wait") || !form.take("parity")) form.unknown();
  shared();
  return [p = form.operand(0), a = form.operand(1), parity = form.operand(2)](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) {
      const bool over = w.bulk().over(w, shared_address(w, a, i), w.read<uint32_t>(parity, i), i);
      w.write(p, i, over);
      if (!over) w.yield();
    });
  };
}

// One is for new barriers alone, the other for all that a thread has written.
Step fence(Form& form) {
  const bool barriers = form.take("mbarrier_init");
  if (barriers ? !form.take("release") || !form.take("cluster") : !form.take("proxy") || !form.take("async"))
    form.unknown();
  return [barriers](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) {
      w.bulk().make_known(w.actor(i).thread);
      if (!barriers) w.fence_proxy(i);
    });
  };
}

}  // namespace

// "cp.async.bulk.tensor.4d... [to], [map, {c, x, y, n}], [barrier]"
Step bulk_copy(Form& form) {
  for (const char* part : {"tensor", "shared::cluster", "global", "mbarrier::complete_tx::bytes"})
    if (!form.take(part)) form.unknown();
  form.take("tile");
  const size_t rank = static_cast<size_t>(form.take_one<5>({"1d", "2d", "3d", "4d", "5d"}) + 1);
  const Operand to = form.operand(0), map = form.operand(1), barrier = form.operand(2);
  if (rank == 0 || map.list.size() != rank || form.instruction.operands.size() != 3) form.unknown();
  return [=](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) {
      const uint64_t address = w.read<uint64_t>(map, i);
      const std::byte* from = address < kParameterWindow || address % 64
                                  ? nullptr
                                  : w.memory(Space::generic, address, 128, Access::read, i);
      TensorMapFields fields;
      if (from) std::memcpy(static_cast<void*>(&fields), from, sizeof fields);
      if (!from || fields.magic != TensorMapFields::kMagic || fields.rank != rank)
        return w.report("bulk copy: not a tensor map of this rank among the kernel's parameters", i);
      std::vector<int32_t> first;
      for (const Operand& c : map.list) first.push_back(w.read<int32_t>(c, i) + static_cast<int32_t>(c.offset));
      w.bulk().copy(w, shared_address(w, to, i), fields, first, shared_address(w, barrier, i), i);
    });
  };
}

void add_bulk(Table& table) { table.insert({{"mbarrier", barrier}, {"fence", fence}}); }

}  // namespace firn::ptx
