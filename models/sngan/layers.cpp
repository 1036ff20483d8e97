#include "models/sngan/layers.h"

#include <cmath>

namespace firn {

Parameter glorot(ParameterMaker& make, const std::string& name, Shape shape, double gain) {
  const double window = shape.size() == 4 ? double(shape[1] * shape[2]) : 1;
  const double bound = gain * std::sqrt(6 / (double(shape[0] + shape.back()) * window));
  return make.uniform(name, std::move(shape), bound);
}

}  // namespace firn
