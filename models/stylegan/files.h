// StyleGAN in files: its row of the registry, and its options by the tensors of a file that does not say them.
#pragma once
#include "models/registry.h"

namespace firn {

Model stylegan_model();

FileFormat rosinality_stylegan();  // files_rosinality.cpp: style-based-gan-pytorch, FreezeD's .model files

}  // namespace firn
