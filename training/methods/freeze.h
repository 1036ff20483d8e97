// Masks by name or number: FreezeD (Mo et al. 2020, arXiv 2002.10964), FreezeG, partial fine-tuning; and over filters
// by Fisher information (AdAM: Zhao et al. 2022, arXiv 2210.16559).
#pragma once
#include "training/methods/method.h"

namespace firn {

Method freeze_method();

}  // namespace firn
