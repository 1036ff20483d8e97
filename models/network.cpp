#include "models/network.h"

#include "base/error.h"

namespace firn {
namespace {

[[noreturn]] void throw_uncut() { throw ConfigError("this discriminator cannot be cut behind frozen blocks"); }

}  // namespace

Tensor Discriminator::features(const Tensor&) const { throw_uncut(); }
Tensor Discriminator::logits(const Tensor&, const Tensor&, int, Mode) const { throw_uncut(); }
Shape Discriminator::features_shape(int64_t) const { throw_uncut(); }

}  // namespace firn
