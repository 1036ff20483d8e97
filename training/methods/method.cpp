#include "training/methods/method.h"

#include "training/methods/freeze.h"

namespace firn {
namespace {

std::vector<Method>& table() {
  static std::vector<Method> all = {freeze_method()};
  return all;
}

}  // namespace

const std::vector<Method>& methods() { return table(); }
void add_method(Method method) { table().push_back(method); }

void choose_by_methods(TrainState& state, TrainOptions& options, const std::shared_ptr<const Dataset>& data) {
  for (const Method& method : methods())
    if (method.choose && method.chosen(options)) {
      method.choose(state, options, data);
      state.make_optimizers(options);
    }
}

void begin_methods(TrainState& state, const TrainOptions& options) {
  for (const Method& method : methods())
    if (method.begin && method.chosen(options)) method.begin(state, options);
}

}  // namespace firn
