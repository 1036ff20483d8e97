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
  NoiseMode noise = NoiseMode::constant;
  std::function<Rng(int64_t)> rng;  // of an image, for NoiseMode::random, which makes one image at a time
  int batch = 16;                   // at once
};

// Images [n,H,W,C] of ws(0), ..., ws(count - 1), each [1,num_ws,w_dim], `batch` at a time, without a tape; each batch
// goes to `use` and is then forgotten.
void synthesize(const StyleGan2Generator& g, int64_t count, const std::function<Tensor(int64_t)>& ws,
                const SampleOptions& options, const std::function<void(const Tensor&)>& use);
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
