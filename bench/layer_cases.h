// The layers of a StyleGAN2 as cases for op_bench: what a table at one shape cannot show, each kernel from 8 pixels a
// side to the full resolution.
#pragma once
#include <string>
#include <vector>

#include "tests/engine/op_cases.h"

namespace firn {

// "256/16384/16": resolution, channel_base, batch. ConfigError for anything else. Names are layer/b256.conv0 and so on.
std::vector<tests::OpCase> layer_cases(const std::string& size);

}  // namespace firn
