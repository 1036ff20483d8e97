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

void begin_methods(TrainState& state, const TrainOptions& options) {
  for (const Method& method : methods())
    if (method.begin && method.chosen(options)) method.begin(state, options);
}

}  // namespace firn
