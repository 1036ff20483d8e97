// Masks by name or number: FreezeD (Mo et al. 2020, arXiv 2002.10964), FreezeG, partial fine-tuning (Park et al. 2023);
// and over filters by Fisher information (AdAM: Zhao et al. 2022, arXiv 2210.16559).
#pragma once
#include "training/methods/method.h"

namespace firn {

Method freeze_d_method();
Method freeze_g_method();
Method partial_method();
Method fisher_method();  // AdAM (Zhao et al. 2022, arXiv 2210.16559): those that matter most to the source do not train
Method freeze_method();  // by name alone

}  // namespace firn
