// Methods of adapting a network. One may prepare the state before training (masks, roles, tensors of the source) and
// extend the phases (wrap a term, add one). A method is a file, with a row in the table (method.cpp).
#pragma once
#include <vector>

#include "training/objectives/objective.h"

namespace firn {

struct Method {
  const char* name;
  bool (*chosen)(const TrainOptions&);
  // Its options, with a kind of that name, which are then options of every run (TrainOptions::method); null: none.
  AnyOptions (*defaults)() = nullptr;
  // Masks, and roles for tensors of its own, which snapshots then keep; before there are optimisers.
  void (*prepare)(TrainState&, const TrainOptions&) = nullptr;
  // A new run, once the source's weights are in place: masks that depend on them and on the data. They go into the
  // options, which snapshots keep, so that a resumed run has them in prepare(). The optimisers are made anew.
  void (*choose)(TrainState&, TrainOptions&, const std::shared_ptr<const Dataset>&) = nullptr;
  // A new run, once the source's weights are in place.
  void (*begin)(TrainState&, const TrainOptions&) = nullptr;
  void (*extend)(std::vector<Phase>&, const Training&) = nullptr;  // phases by name, in order
};

const std::vector<Method>& methods();
void add_method(Method method);  // of a program that brings its own

void choose_by_methods(TrainState& state, TrainOptions& options, const std::shared_ptr<const Dataset>& data);
void begin_methods(TrainState& state, const TrainOptions& options);  // of those that are chosen

}  // namespace firn
