// From latents to 8-bit images: what gan-sample and the sheets of a run share.
#pragma once
#include <span>
#include <vector>

#include "io/dataset.h"
#include "models/stylegan2.h"
#include "training/config.h"

namespace firn {

struct SampleOptions {
  Truncation truncation;
  NoiseMode noise = NoiseMode::constant;
  Rng* rng = nullptr;  // for NoiseMode::random
  int batch = 16;      // at once
};

// ws [N,num_ws,w_dim] -> images [N,H,W,C], `batch` at a time, without a tape.
Tensor synthesize(const StyleGan2Generator& g, const Tensor& ws, const SampleOptions& options);
// z [N,z_dim], one-hot labels or undefined -> ws, truncated.
Tensor styles(const StyleGan2Generator& g, const Tensor& z, const Tensor& labels, Truncation truncation);

std::vector<Image> to_images(const Tensor& nhwc);  // [-1,1] to bytes

// The sheets of a run: the same latents and labels every time. Row y of a conditional sheet shows class y mod classes.
struct SheetLayout {
  int columns, rows;
};
SheetLayout sheet_layout(const TrainOptions& options, const Device& device);
Image fakes_sheet(const StyleGan2Generator& g, const TrainOptions& options, SheetLayout layout);
Image reals_sheet(const Dataset& dataset, SheetLayout layout);

}  // namespace firn
