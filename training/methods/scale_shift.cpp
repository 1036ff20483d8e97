#include "training/methods/scale_shift.h"

namespace firn {

void ScaleShift::visit(OptionVisitor& v) {
  v({.key = "on",
     .flag = "--scale-shift-on",
     .help = "StyleGAN2: styles, the affine layers that make them, or outputs, a scale and the bias behind each "
             "demodulation; batch norm's gamma and beta are both",
     .group = method_group},
    choice(on, "part of G to scale and shift",
           std::vector<std::pair<std::string, std::string>>{{"styles", "styles"}, {"outputs", "outputs"}}));
}

Method scale_shift_method() {
  return {.name = "scale-shift",
          .paper = "BSA: Noguchi & Harada 2019, arXiv 1904.01774",
          .summary =
              "of G only scales and shifts train: batch norm's, those that styles make, or a StyleGAN2's outputs "
              "(--scale-shift-on)",
          .legacy = true,
          .defaults = [] { return AnyOptions(ScaleShift{}); },
          .settle =
              [](TrainOptions& o, const Overlay&) {
                if (o.method<ScaleShift>().on == "outputs") give_model(o.model, "output_scale");
              },
          .prepare =
              [](TrainState& s, const TrainOptions& o) {
                if (o.legacy) return;
                const Generator::Parts parts = s.generator().parts();
                const Parameters all = s.generator().parameters(),
                                 trained = all.matching(o.method<ScaleShift>().on == "outputs" ? parts.outputs
                                                                                               : parts.styles);
                for (const Parameter& p : all)
                  if (!trained.find(p.name())) Parameter(p).set_frozen(true);
              }};
}

}  // namespace firn
