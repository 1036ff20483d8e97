#include "models/layers/latent_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/layers/maker.h"

namespace firn {

LatentTable::LatentTable(int64_t rows, const Generator& g, uint64_t seed) : Network(g.device()) {
  ParameterMaker make(parameters_, seed, g.type(), g.device());
  table_ = make.normal("weight", {rows, g.z_dim()});
}

Tensor LatentTable::operator()(const Tensor& rows) const { return gather(table_(), rows); }

namespace {

double below(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }  // the share of normal numbers

}  // namespace

Generator::Prior truncated_normal(double bound) {
  return [bound](const Tensor& z) {
    std::vector<double> values = z.to_doubles();
    const double least = below(-bound), most = below(bound);
    for (double& v : values) {
      const double wanted = least + below(v) * (most - least);
      double low = -bound, high = bound;
      for (int i = 0; i < 40; ++i) {
        const double middle = (low + high) / 2;
        (below(middle) < wanted ? low : high) = middle;
      }
      v = (low + high) / 2;
    }
    return Tensor::from(values, z.shape(), z.type(), z.device());
  };
}

Generator::Prior around_latents(std::shared_ptr<const LatentTable> table, double deviation) {
  return [table = std::move(table), deviation](const Tensor& z) {
    const std::vector<double> first = slice(z, 1, 0, 1).to_doubles();
    std::vector<int32_t> which;
    for (const double v : first)
      which.push_back(int32_t(std::min(int64_t(below(v) * double(table->rows())), table->rows() - 1)));
    return (*table)(Tensor::from(which, {z.dim(0)}, z.device())) + z * deviation;
  };
}

}  // namespace firn
