#include "training/methods/scale_shift.h"

namespace firn {

Method scale_shift_method() {
  return {.name = "scale-shift",
          .paper = "BSA: Noguchi & Harada 2019, arXiv 1904.01774",
          .summary = "of G only scales and shifts train: gamma and beta of batch norm, or the affine layers of styles",
          .legacy = true,
          .prepare = [](TrainState& s, const TrainOptions& o) {
            if (o.legacy) return;
            const Parameters all = s.generator().parameters(), styles = all.matching(s.generator().parts().styles);
            for (const Parameter& p : all)
              if (!styles.find(p.name())) Parameter(p).set_frozen(true);
          }};
}

}  // namespace firn
