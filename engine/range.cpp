#include "engine/range.h"

#ifdef FIRN_CUDA
#include <nvtx3/nvToolsExt.h>

namespace firn {

Range::Range(const char* name) { nvtxRangePushA(name); }
Range::~Range() { nvtxRangePop(); }

}  // namespace firn
#endif
