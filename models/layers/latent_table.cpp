#include "models/layers/latent_table.h"

#include "models/layers/maker.h"

namespace firn {

LatentTable::LatentTable(int64_t rows, const Generator& g, uint64_t seed) : Network(g.device()) {
  ParameterMaker make(parameters_, seed, g.type(), g.device());
  table_ = make.normal("weight", {rows, g.z_dim()});
}

Tensor LatentTable::operator()(const Tensor& rows) const { return gather(table_(), rows); }

}  // namespace firn
