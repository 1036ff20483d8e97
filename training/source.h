// What a file of weights says about the networks in it: by the options in its metadata or, where another program wrote
// it, by its tensors.
#pragma once
#include <string>

#include "io/safetensors.h"
#include "training/config.h"

namespace firn {

struct SourceModel {
  bool g = false, d = false;  // which of them it holds; G_ema stands for G
  bool described = false;     // by its options; otherwise they are known no further than tensors tell of the model
  TrainOptions options;
  const StyleGan2Options& model() const { return options.model; }
};

bool has_network(const SafetensorsFile& file, const std::string& name);  // "G", "G_ema" or "D"

// IoError where it holds no StyleGAN2, or one that StyleGan2Options cannot describe.
SourceModel source_model(const SafetensorsFile& file);

// Fills in what `set` leaves open with the source's shape. Says what was taken: "mapping depth 8, ..."; empty: nothing.
std::string take_shape(PresetOverrides& set, const SourceModel& source);

// Where `model` differs from the source in shape, as options of gan-train: "--map-depth 8 (here 2) and ..."; empty:
// nowhere.
std::string shape_differences(const SourceModel& source, const StyleGan2Options& model);

}  // namespace firn
