// Latents by number: one for each image of a data set, or points that others are drawn around; and other distributions
// than the normal one that images are made from.
#pragma once
#include "models/network.h"

namespace firn {

class LatentTable : public Network {
 public:
  LatentTable(int64_t rows, const Generator& g, uint64_t seed);  // N(0,1), of g's size and type
  Tensor operator()(const Tensor& rows) const;                   // [N] i32 -> [N,z_dim]
  int64_t rows() const { return table_().dim(0); }

 private:
  Parameter table_;
};

// What Generator::sample_with() takes. Both wait for the device.
// Normal numbers of which only those within the bound are kept.
Generator::Prior truncated_normal(double bound);
// A latent of the table and normal noise: which one follows from the first number of z.
Generator::Prior around_latents(std::shared_ptr<const LatentTable> table, double deviation);

}  // namespace firn
