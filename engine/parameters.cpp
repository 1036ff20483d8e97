#include "engine/parameters.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/error.h"
#include "engine/ops.h"

namespace firn {

Parameter::Parameter(std::string name, Tensor value, ParameterKind kind)
    : state_(std::make_shared<State>(
          State{.name = std::move(name),
                .value = std::move(value),
                .buffer = kind == ParameterKind::buffer || kind == ParameterKind::own_buffer,
                .addition = kind == ParameterKind::addition || kind == ParameterKind::own_buffer})) {
  set_frozen(false);
}

void Parameter::set_frozen(bool frozen) {
  state_->frozen = frozen;
  Tensor& v = state_->value;
  if (this->frozen()) {
    v = v.detach();
  } else if (!v.wants_grad()) {
    v = require_grad(v, state_->rows);
  }
}

Parameter& Parameter::mark_running() {
  state_->running = true;
  return *this;
}

void Parameter::train_rows(std::vector<int32_t> rows) {
  const int64_t all = value().rank() ? value().dim(0) : 0, some = static_cast<int64_t>(rows.size());
  const auto list = std::make_shared<const TrainedRows>(std::move(rows), all, value().device());
  state_->rows = some == all ? nullptr : list;
  if (some == 0) set_frozen(true);
  if (!frozen()) state_->value = require_grad(value(), state_->rows);
}

void Parameter::modulate(Parameter out, Parameter in) {
  Shape row = value().shape();
  row[0] = 1;
  if (out.value().shape() != Shape{value().dim(0)} || in.value().shape() != row)
    throw ShapeError(fmt::format("modulation of {} by {} and {}; expected [{}] and {}", to_string(value().shape()),
                                 to_string(out.value().shape()), to_string(in.value().shape()), value().dim(0),
                                 to_string(row)));
  state_->factors = {std::move(out), std::move(in)};
}

bool Parameter::modulated() const {
  return std::ranges::any_of(state_->factors, [](const Parameter& p) { return !p.frozen(); });
}

Tensor Parameter::operator()() const {
  if (state_->factors.empty()) return state_->value;
  Shape column(size_t(value().rank()), 1);
  column[0] = value().dim(0);
  return value() * (reshape(state_->factors[0](), column) * state_->factors[1]() + 1);
}

int64_t Parameter::trains() const {
  if (frozen()) return 0;
  return rows() ? count() / value().dim(0) * rows()->count() : count();
}

std::string layer_of_weights(const std::string& name) {
  for (const char* suffix : {".weight", ".weight_orig"})
    if (name.ends_with(suffix)) return name.substr(0, name.rfind('.'));
  return {};
}

bool matches(const std::string& name, const std::string& pattern) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

Parameters Parameters::matching(const std::vector<std::string>& patterns) const {
  std::vector<bool> used(patterns.size());
  Parameters result;
  for (const Parameter& p : list_) {
    bool hit = false;
    for (size_t i = 0; i < patterns.size(); ++i)
      if (matches(p.name(), patterns[i])) hit = used[i] = true;
    if (hit) result.add(p);
  }
  for (size_t i = 0; i < patterns.size(); ++i)
    if (!used[i]) throw ConfigError(fmt::format("no parameter matches '{}'", patterns[i]));
  return result;
}

Parameters Parameters::trainable() const {
  Parameters result;
  for (const Parameter& p : list_)
    if (!p.frozen()) result.add(p);
  return result;
}

Parameters Parameters::running() const {
  Parameters result;
  for (const Parameter& p : list_)
    if (p.running()) result.add(p);
  return result;
}

Parameters Parameters::without_buffers() const {
  Parameters result;
  for (const Parameter& p : list_)
    if (!p.buffer()) result.add(p);
  return result;
}

const Parameter* Parameters::find(const std::string& name) const {
  for (const Parameter& p : list_)
    if (p.name() == name) return &p;
  return nullptr;
}

void Parameters::freeze() const {
  for (Parameter p : list_) p.set_frozen(true);
}

void Parameters::unfreeze() const {
  for (Parameter p : list_) p.set_frozen(false);
}

std::vector<Tensor> Parameters::tensors() const {
  std::vector<Tensor> result;
  for (const Parameter& p : list_) result.push_back(p.value());
  return result;
}

int64_t Parameters::count() const {
  int64_t n = 0;
  for (const Parameter& p : list_) n += p.count();
  return n;
}

int64_t Parameters::trains() const {
  int64_t n = 0;
  for (const Parameter& p : list_) n += p.trains();
  return n;
}

FrozenScope::FrozenScope(const Parameters& parameters) : thawed_(parameters.trainable()) { thawed_.freeze(); }
FrozenScope::~FrozenScope() { thawed_.unfreeze(); }

}  // namespace firn
