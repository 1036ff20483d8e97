#include "models/spec.h"

#include <fmt/format.h>

#include "base/error.h"

namespace firn {

const ModelSpec::Face& ModelSpec::face() const {
  if (!face_) throw ConfigError("no model was chosen");
  return *face_;
}

void ModelSpec::visit(OptionVisitor& v) {
  if (!face_) return;
  face_->visit(options_, v);
  options_.visit(v);
}

void ModelSpec::set_types(DType type, DType activation_type) {
  ModelBasics b = basics();
  b.type = type;
  b.activation_type = activation_type;
  set(b);
}

ModelSpec ModelSpec::seeded(uint64_t seed) const {
  ModelSpec spec = *this;
  ModelBasics b = basics();
  b.seed = seed;
  spec.set(b);
  return spec;
}

TextValue type_value(DType& type) {
  return choice(type, "type", {{DType::f32, "f32"}, {DType::bf16, "bf16"}, {DType::f64, "f64"}});
}

}  // namespace firn
