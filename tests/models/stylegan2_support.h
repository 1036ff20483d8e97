// A StyleGAN2 small enough for tests of its parts, and numbers to put in.
#pragma once
#include "engine/random.h"
#include "models/stylegan2/stylegan2.h"

namespace firn {

inline const Device cpu = Device::cpu();

inline StyleGan2Options small_stylegan2(int mbstd_group, DType type = DType::f32) {
  return {.height = 32,
          .z_dim = 16,
          .w_dim = 16,
          .channel_base = 256,
          .channel_max = 16,
          .mapping_layers = 2,
          .mbstd_group = mbstd_group,
          .type = type,
          .seed = 7};
}

inline Tensor normal(Shape shape, uint64_t seed, DType type = DType::f32) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, type, cpu);
}

}  // namespace firn
