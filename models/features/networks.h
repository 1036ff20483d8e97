// The rows of feature_models().
#pragma once
#include "models/features/features.h"

namespace firn {

FeatureModel mobilenet_v2_model();

}  // namespace firn
