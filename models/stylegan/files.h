// StyleGAN in files: its row of the registry, and its options by the tensors of a file that does not say them.
#pragma once
#include "models/registry.h"

namespace firn {

Model stylegan_model();

}  // namespace firn
