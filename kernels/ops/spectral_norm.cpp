// Tables of layers, and which launch comes after which.
#include "kernels/ops/spectral_norm.h"

#include <algorithm>

namespace firn::kernels {

namespace {
// One launch for as many layers as a table holds.
template <class Kernel, class A>
void launch(const Stream& stream, Kernel kernel, const std::vector<SpectralLayer<A>>& layers) {
  for (size_t begin = 0; begin < layers.size(); begin += kSpectralLayers) {
    const size_t end = std::min(layers.size(), begin + kSpectralLayers);
    kernel.table.count = 0;
    kernel.table.blocks = 0;
    kernel.table.cuda = stream.is_cuda;
    for (size_t i = begin; i < end; ++i) {
      SpectralLayer<A>& entry = kernel.table.layers[kernel.table.count++] = layers[i];
      entry.first_block = kernel.table.blocks;
      kernel.table.blocks += Kernel::blocks_for(stream.is_cuda, entry);
    }
    run(stream, kernel);
  }
}
}  // namespace

template <class A>
void power_iteration(const Stream& stream, std::vector<SpectralLayer<A>> layers, int iterations, double eps) {
  for (int i = 0; i < iterations; ++i) {
    launch(stream, SpectralColumns<A>{}, layers);
    launch(stream, SpectralRows<A>{}, layers);
    launch(stream, SpectralNorms<A>{.table = {}, .eps = static_cast<A>(eps)}, layers);
    for (SpectralLayer<A>& l : layers) l.u = l.new_u;
  }
}

template void power_iteration(const Stream&, std::vector<SpectralLayer<float>>, int, double);
template void power_iteration(const Stream&, std::vector<SpectralLayer<double>>, int, double);

}  // namespace firn::kernels
