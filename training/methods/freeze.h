// Masks by name or number: FreezeD (Mo et al. 2020, arXiv 2002.10964), FreezeG, partial fine-tuning.
#pragma once
#include "training/methods/method.h"

namespace firn {

Method freeze_method();

}  // namespace firn
