// What StyleGAN2's two networks share: making parameters, fully connected layers, the mapping network.
#pragma once
#include <functional>
#include <string>

#include "models/stylegan2.h"

namespace firn {

// Makes parameters, adds them to a list, and draws their first values from one stream in the order of the calls.
class ParameterMaker {
 public:
  ParameterMaker(Parameters& list, uint64_t seed, DType type, const Device& device)
      : list_(list), rng_{.seed = seed}, type_(type), device_(device) {}
  Parameter normal(const std::string& name, Shape shape, double scale = 1);  // scale N(0,1)
  Parameter constant(const std::string& name, Shape shape, double value);
  Parameter normal_buffer(const std::string& name, Shape shape);
  Parameter zero_buffer(const std::string& name, Shape shape);

 private:
  Parameter add(const std::string& name, Shape shape, const std::function<Tensor(Shape)>& values,
                ParameterKind kind = ParameterKind::weight);
  Parameters& list_;
  Rng rng_;
  DType type_;
  Device device_;
};

// Equalised learning rate (Karras et al. 2018): gain lrelu(x (w m / sqrt(in))^T + b m), m = lr_mult.
struct FullyConnected {
  double lr_mult = 1, slope = 1, gain = 1;
};
Tensor fully_connected(const Tensor& x, const Parameter& w, const Parameter& b, FullyConnected p = {});

// z_dim 0: the labels alone are mapped.
struct MappingShape {
  int z_dim, c_dim, width, layers;
};
MappingNetwork make_mapping(ParameterMaker& make, MappingShape shape);
Tensor map(const MappingNetwork& network, const Tensor& z, const Tensor& labels);

Tensor as_type(const Tensor& x, DType type);  // x itself where it has that type

}  // namespace firn
