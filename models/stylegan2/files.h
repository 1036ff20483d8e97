// StyleGAN2 in files: its row of the registry, and its options by the tensors of a file that does not say them; and how
// files of other programs name its tensors.
#pragma once
#include "models/registry.h"

namespace firn {

Model stylegan2_model();

FileFormat nvidia_pickle();     // files_nvidia.cpp: stylegan2-ada-pytorch, stylegan3's StyleGAN2, vision-aided-gan
FileFormat nvidia_names();      // the same names, of one network alone and without its prefix
FileFormat rosinality_names();  // files_rosinality.cpp: stylegan2-pytorch's g, d, g_ema
FileFormat tensorflow_names();  // files_tensorflow.cpp: stylegan2 and stylegan2-ada

}  // namespace firn
