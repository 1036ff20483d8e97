// Methods of adapting a network. One may prepare the state before training (masks, roles, tensors of the source) and
// extend the phases (wrap a term, add one). A method is a file, with a row in the table (method.cpp).
#pragma once
#include <vector>

#include "training/objectives/objective.h"

namespace firn {

// A method's options have this heading in --help.
inline constexpr const char* method_group = "Methods";

struct Method {
  const char* name;          // as --method has it
  const char* paper = "";    // of --help-methods
  const char* summary = "";  // what trains, and what the loss becomes
  bool legacy = false;       // whether --legacy changes it
  // Whether options choose it that are not its name; --method NAME always does.
  bool (*also_chosen)(const TrainOptions&) = [](const TrainOptions&) { return false; };
  bool chosen(const TrainOptions& o) const;
  // Its options, with a kind of that name, which are then options of every run (TrainOptions::method); null: none.
  AnyOptions (*defaults)() = nullptr;
  // Once it is chosen: options that follow and that nobody insisted on; what it needs of others is a ConfigError.
  void (*settle)(TrainOptions&, const Overlay& given) = nullptr;
  void (*check)(const TrainOptions&) = nullptr;
  // Masks, and roles for tensors of its own, which snapshots then keep; before there are optimisers.
  void (*prepare)(TrainState&, const TrainOptions&) = nullptr;
  // A new run, once the source's weights are in place: masks that depend on them and on the data. They go into the
  // options, which snapshots keep, so that a resumed run has them in prepare(). The optimisers are made anew.
  void (*choose)(TrainState&, TrainOptions&, const std::shared_ptr<const Dataset>&) = nullptr;
  std::string (*grounds)(const TrainOptions&) = nullptr;  // by what it chooses filters; empty: it will not
  // A new run, once the source's weights are in place.
  void (*begin)(TrainState&, const TrainOptions&) = nullptr;
  void (*extend)(std::vector<Phase>&, const Training&) = nullptr;  // phases by name, in order
};

const std::vector<Method>& methods();
void add_method(Method method);  // of a program that brings its own
std::vector<const Method*> chosen_methods(const TrainOptions& options);

// In settle(): switches on (or off) what only methods ask of a model, by its option's key. False: this model has none
// such.
bool give_model(ModelSpec& model, std::string_view key, bool what = true);

// Options that follow from the methods that are chosen. ConfigError for an option of one that is not.
void settle_methods(TrainOptions& options, const Overlay& given);

std::string grounds_of_methods(const TrainOptions& options);
void choose_by_methods(TrainState& state, TrainOptions& options, const std::shared_ptr<const Dataset>& data);
void begin_methods(TrainState& state, const TrainOptions& options);  // of those that are chosen, behind their sources
std::string method_help();                                           // --help-methods

}  // namespace firn
