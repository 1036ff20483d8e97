// Loads, stores and atomics.
#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

Step load_store(Form& form, bool store) {
  const Space space = take_space(form);
  form.take("volatile"), form.take("nc"), form.take("relaxed"), form.take("gpu"), form.take("weak");
  for (const char* hint : {"ca", "cg", "cs", "lu", "cv", "wb", "wt"}) form.take(hint);
  const size_t n = form.take("v2") ? 2 : form.take("v4") ? 4 : form.take("v8") ? 8 : 1;
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    const Operand address = form.operand(store ? 0 : 1), data = form.operand(store ? 1 : 0);
    return [=](Warp& w, uint32_t lanes) {
      for_lanes(lanes, [&](int i) {
        std::byte* at = w.memory(space, address, n * sizeof(T), store ? Access::write : Access::read, i);
        for (size_t k = 0; k < n; ++k) {
          const Operand& o = n == 1 ? data : data.list.at(k);
          T v{};
          if (store) {
            v = w.read<T>(o, i);
            if (at) std::memcpy(at + k * sizeof(T), &v, sizeof v);
          } else {
            if (at) std::memcpy(&v, at + k * sizeof(T), sizeof v);
            w.write(o, i, v);
          }
        }
      });
    };
  });
}

// Lanes go one after another, in order.
Step atomic(Form& form, bool returns) {
  const Space space = take_space(form);
  form.take("relaxed"), form.take("gpu"), form.take("sys");
  const int op = form.take_one<9>({"add", "exch", "cas", "min", "max", "and", "or", "xor", "inc"});
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_same_v<T, bool>) {
      form.unknown();
    } else {
      const size_t first = returns ? 1 : 0;
      const Operand result = returns ? form.operand(0) : Operand{}, address = form.operand(first),
                    b = form.operand(first + 1), c = op == 2 ? form.operand(first + 2) : Operand{};
      const auto next = [op](T old, T v, T swap) -> T {
        switch (op) {
          case 0:
            return wrapped(old, v, std::plus<>{});
          case 1:
            return v;
          case 2:
            return old == v ? swap : old;
          case 3:
            return std::min(old, v);
          case 4:
            return std::max(old, v);
          default:
            if constexpr (is_int<T>) {
              if (op == 8) return old >= v ? T{0} : static_cast<T>(old + 1);
              return static_cast<T>(op == 5 ? old & v : op == 6 ? old | v : old ^ v);
            }
            return old;
        }
      };
      if (op < 0 || (op > 4 && !is_int<T>)) form.unknown();
      return [=](Warp& w, uint32_t lanes) {
        for_lanes(lanes, [&](int i) {
          std::byte* at = w.memory(space, address, sizeof(T), Access::atomic, i);
          if (!at) return;
          T old;
          std::memcpy(&old, at, sizeof old);
          const T v = next(old, w.read<T>(b, i), op == 2 ? w.read<T>(c, i) : T{});
          std::memcpy(at, &v, sizeof v);
          w.write(result, i, old);
        });
      };
    }
  });
}

}  // namespace

void add_memory(Table& table) {
  table.insert({
      {"ld", [](Form& f) { return load_store(f, false); }},
      {"ldu", [](Form& f) { return load_store(f, false); }},
      {"st", [](Form& f) { return load_store(f, true); }},
      {"atom", [](Form& f) { return atomic(f, true); }},
      {"red", [](Form& f) { return atomic(f, false); }},
  });
}

}  // namespace firn::ptx
