#include "training/latents/sefa.h"

#include "base/error.h"

namespace firn {

Eigen sefa(const StyleGenerator& g, const std::vector<int64_t>& layers) {
  const std::vector<Parameters> affines = g.affines();
  Matrix a(0, g.w_dim());
  for (const int64_t layer : layers) {
    if (layer < 0 || layer >= g.num_ws())
      throw ConfigError(fmt::format("layer {}: the network has layers 0 to {}", layer, g.num_ws() - 1));
    for (const Parameter& p : affines[size_t(layer)]) {
      const std::vector<double> values = p().detach().to_doubles();
      a.values.insert(a.values.end(), values.begin(), values.end());
      a.rows += p.value().dim(0);
    }
  }
  return eigen_of_products(std::move(a));
}

}  // namespace firn
