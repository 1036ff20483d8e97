#include "engine/ops/operands.h"

#include "base/error.h"

namespace firn::ops {

void require(const char* op, const char* operand, const Tensor& t, const Axes& axes) {
  if (!t.defined() || t.rank() < axes.least || t.rank() > axes.most)
    throw ShapeError(fmt::format("{}: expected {} {}, got {}", op, operand, axes.layout,
                                 t.defined() ? to_string(t.shape()) : "no tensor"));
  if (is_integer(t.type()))
    throw ShapeError(fmt::format("{}: expected {} of f32, bf16 or f64, got {}", op, operand, name_of(t.type())));
}

}  // namespace firn::ops
