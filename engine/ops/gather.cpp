// gather and scatter_add define each other's gradients, and so does pick_channels with its lists exchanged.
#include "kernels/ops/gather.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "kernels/ops/control.h"

namespace firn {

namespace {

// `rows` are of what is numbered. On the CPU the numbers are there to be looked at.
void check_index(const char* op, const Tensor& x, const Tensor& index, int64_t rows) {
  if (x.rank() < 1 || index.rank() != 1 || index.type() != DType::i32)
    throw ShapeError(fmt::format("{}: expected x [N,...] and an index [N] i32, got {} and {} {}", op,
                                 to_string(x.shape()), to_string(index.shape()), name_of(index.type())));
  if (index.device().is_cuda()) return;
  const int32_t* const numbers = index.as<int32_t>();
  for (int64_t n = 0; n < index.count(); ++n)
    if (numbers[n] < 0 || numbers[n] >= rows)
      throw ShapeError(fmt::format("{}: index {} where there are {} rows", op, numbers[n], rows));
}

template <template <class> class Kernel>
Tensor moved(const Tensor& x, const Tensor& index, int64_t table_rows, int64_t rows) {
  Shape shape = x.shape();
  const int64_t columns = count(Shape(shape.begin() + 1, shape.end()));
  shape[0] = rows;
  Tensor y = x.like(shape);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), Kernel<T>{y.mutable_as<T>(), x.as<T>(), index.as<int32_t>(), index.count(), table_rows, columns});
  });
  return y;
}

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index) {
  check_index("gather", x, index, x.rank() ? x.dim(0) : 0);
  return record(
      "gather", moved<kernels::Gather>(x, index, x.dim(0), index.count()),
      {{x, [index, rows = x.dim(0)](const Tensor& gy, const Tensor&) { return scatter_add(gy, index, rows); }},
       {index, {}}});
}

Tensor scatter_add(const Tensor& x, const Tensor& index, int64_t rows) {
  check_index("scatter_add", x, index, rows);
  if (x.dim(0) != index.count() || rows < 0)
    throw ShapeError(fmt::format("scatter_add: x {} into {} rows does not fit index {}", to_string(x.shape()), rows,
                                 to_string(index.shape())));
  return record("scatter_add", moved<kernels::ScatterAdd>(x, index, rows, rows),
                {{x, [index](const Tensor& gy, const Tensor&) { return gather(gy, index); }}});
}

Tensor pick_channels(const Tensor& x, const Tensor& from, const Tensor& back) {
  ops::require("pick_channels", "x", x, ops::kChannels);
  for (const Tensor& list : {from, back})
    if (list.rank() != 1 || list.type() != DType::i32)
      throw ShapeError(fmt::format("pick_channels: expected lists [N] i32, got {} {}", to_string(list.shape()),
                                   name_of(list.type())));
  const int64_t C = x.dim(-1), n = from.count();
  if (back.count() != C)
    throw ShapeError(fmt::format("pick_channels: x {} does not fit the inverse {} of its list", to_string(x.shape()),
                                 to_string(back.shape())));
  Shape shape = x.shape();
  shape.back() = n;
  Tensor y = x.like(shape);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::PickChannels<T>{y.mutable_as<T>(), x.as<T>(), from.as<int32_t>(), C ? x.count() / C : 0, C, n});
  });
  return record("pick_channels", y,
                {{x, [from, back](const Tensor& gy, const Tensor&) { return pick_channels(gy, back, from); }}});
}

Tensor one_hot(const Tensor& index, int64_t classes, DType type) {
  if (index.rank() != 1 || index.type() != DType::i32 || classes < 1)
    throw ShapeError(fmt::format("one_hot: expected an index [N] i32 and classes, got {} {} and {}",
                                 to_string(index.shape()), name_of(index.type()), classes));
  Tensor y = Tensor::empty({index.count(), classes}, type, index.device());
  dispatch_acc(type, [&](auto tag) {
    using T = decltype(tag);
    run(y.stream(), kernels::OneHot<T>{y.mutable_as<T>(), index.as<int32_t>(), index.count(), classes});
  });
  return record("one_hot", y, {{index, {}}});
}

}  // namespace firn
