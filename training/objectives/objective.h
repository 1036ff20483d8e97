// How a model is trained: its losses, their options, its phases, and the configurations that fill in what a user left
// open. An objective is a file, with a row in the table (objective.cpp).
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "training/options/overlay.h"
#include "training/step/phase.h"

namespace firn {

class Reals;

// What phases are made of, all of which outlives them.
struct Training {
  const TrainOptions& options;
  TrainState& state;
  Reals* reals = nullptr;               // null: whoever runs the phases brings batches of his own
  std::function<int(Rng&)> draw_label;  // of a generated image; unset: of any class
};

struct Preset {
  const char* name;
  const char* remark;                                 // for --help; empty: none
  std::function<void(TrainOptions&, int size)> fill;  // size: the longer side
};

// What D is to tell reals from fakes by, and G to deceive it: of logits of any shape.
enum class GanLoss { hinge, non_saturating };
Tensor g_loss(GanLoss loss, const Tensor& fake);
Tensor d_loss(GanLoss loss, const Tensor& real, const Tensor& fake);
inline constexpr const char* loss_help = "hinge or ns, the non-saturating loss";
TextValue loss_value(GanLoss& loss);  // of --loss

struct Objective {
  std::string model;            // the kind that it trains
  std::vector<Preset> presets;  // the first is the default
  AnyOptions (*defaults)();
  // After presets and the user: options that follow from others and that nobody insisted on.
  void (*settle)(TrainOptions&, const Overlay& given) = [](TrainOptions&, const Overlay&) {};
  void (*check)(const TrainOptions&) = [](const TrainOptions&) {};  // ConfigError with the reason
  std::string (*describe)(const TrainOptions&);                     // of the start-up text: "gamma 10, ..."
  bool (*averages)(const TrainOptions&) = [](const TrainOptions&) { return true; };  // whether G has an average
  AdamOptions (*adam)(const TrainOptions&, std::string_view role);
  std::vector<std::pair<std::string, Tensor>> (*scalars)(const TrainOptions&, const Device&) =
      [](const TrainOptions&, const Device&) { return std::vector<std::pair<std::string, Tensor>>(); };
  std::vector<Phase> (*phases)(const Training&);
  GanLoss (*loss)(const TrainOptions&) = [](const TrainOptions&) { return GanLoss::non_saturating; };
  // What D sees of the bytes of reals in [-1,1] where that does not change from step to step (--cache-features).
  Tensor (*reals)(const Tensor& images) = [](const Tensor& images) { return images; };
  const char* steadier = "a smaller --lr";  // what to try after a run that diverged
};

const std::vector<Objective>& objectives();
const Objective& objective_of(const ModelSpec& model);  // ConfigError
void add_objective(Objective objective);                // of a program that brings its own model

// The phases of an iteration, in order, with what methods add to them.
std::vector<Phase> phases_of(const Training& training);

const Preset& preset(const ModelSpec& model, std::string_view name);  // ConfigError for an unknown name
const char* preset_help();                                            // of all models

}  // namespace firn
