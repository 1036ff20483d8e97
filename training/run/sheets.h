// The sheets of a run: the same latents and labels every time. Row y of a conditional sheet shows class y mod classes,
// of those that have images.
#pragma once
#include "io/dataset.h"
#include "models/sampling.h"
#include "training/options/options.h"

namespace firn {

struct SheetLayout {
  int columns, rows;
};
SheetLayout sheet_layout(const TrainOptions& options, const Device& device);
Image fakes_sheet(const Generator& g, const TrainOptions& options, SheetLayout layout);
Image reals_sheet(const Dataset& dataset, SheetLayout layout);

}  // namespace firn
