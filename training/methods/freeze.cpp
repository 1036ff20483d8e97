#include "training/methods/freeze.h"

namespace firn {

Method freeze_method() {
  return {
      .name = "freeze",
      .chosen = [](const TrainOptions& o) { return o.freeze.blocks || o.freeze.layers || !o.freeze.patterns.empty(); },
      .prepare = [](TrainState& s, const TrainOptions& o) { apply(o.freeze, s.generator(), s.discriminator()); }};
}

}  // namespace firn
