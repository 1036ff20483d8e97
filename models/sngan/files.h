// SNGAN in files: its row of the registry, and its options by the tensors of a file that does not say them.
#pragma once
#include "models/registry.h"

namespace firn {

Model sngan_model();

FileFormat chainer_names();  // files_chainer.cpp: sngan_projection of Chainer, one network a file

}  // namespace firn
