// From latents to 8-bit images: what gan-sample and the sheets of a run share.
#pragma once
#include <functional>
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

// ws [N,num_ws,w_dim] -> images [n,H,W,C], `batch` at a time, without a tape; each goes to `use` and is then forgotten.
void synthesize(const StyleGan2Generator& g, const Tensor& ws, const SampleOptions& options,
                const std::function<void(const Tensor&)>& use);
// z [N,z_dim], one-hot labels or undefined -> ws, truncated.
Tensor styles(const StyleGan2Generator& g, const Tensor& z, const Tensor& labels, Truncation truncation);

std::vector<Image> to_images(const Tensor& nhwc);  // [-1,1] to bytes

std::vector<int> sampled_classes(const TrainOptions& options);  // those that had images; all where that is not known

// The sheets of a run: the same latents and labels every time. Row y of a conditional sheet shows class y mod classes,
// of those that have images.
struct SheetLayout {
  int columns, rows;
};
SheetLayout sheet_layout(const TrainOptions& options, const Device& device);
Image fakes_sheet(const StyleGan2Generator& g, const TrainOptions& options, SheetLayout layout);
Image reals_sheet(const Dataset& dataset, SheetLayout layout);

}  // namespace firn
