#include "kernels/core/types.h"

#include "base/error.h"

namespace firn {

void throw_other_type(DType t, const char* expected) {
  throw ShapeError(fmt::format("expected {}, got {}", expected, name_of(t)));
}

}  // namespace firn
