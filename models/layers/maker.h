// Making a network's parameters.
#pragma once
#include <functional>
#include <string>

#include "engine/ops.h"
#include "engine/parameters.h"

namespace firn {

// Makes parameters, adds them to a list, and draws their first values from one stream in the order of the calls.
// `modulates`: each convolution's weights are modulated by additions NAME.modulate_out, zeros, and NAME.modulate_in,
// normal numbers of a stream of their own.
class ParameterMaker {
 public:
  ParameterMaker(Parameters& list, uint64_t seed, DType type, const Device& device, bool modulates = false)
      : list_(list), rng_{.seed = seed}, type_(type), device_(device), modulates_(modulates) {}
  Parameter normal(const std::string& name, Shape shape, double scale = 1);  // scale N(0,1)
  Parameter constant(const std::string& name, Shape shape, double value, ParameterKind kind = ParameterKind::weight);
  Parameter normal_buffer(const std::string& name, Shape shape, ParameterKind kind = ParameterKind::buffer);
  Parameter uniform(const std::string& name, Shape shape, double bound);  // U(-bound, bound)
  Parameter buffer(const std::string& name, Shape shape, double value);

 private:
  Parameter add(const std::string& name, Shape shape, const std::function<Tensor(Shape)>& values,
                ParameterKind kind = ParameterKind::weight);
  Parameters& list_;
  Rng rng_, modulation_rng_{.seed = ~rng_.seed};
  DType type_;
  Device device_;
  bool modulates_;
};

Tensor as_type(const Tensor& x, DType type);  // x itself where it has that type

}  // namespace firn
