// What the sliced Wasserstein distance of images looks at: small patches at each scale of a Laplacian pyramid.
#pragma once
#include <vector>

#include "metrics/images/image_set.h"
#include "metrics/numbers/matrix.h"

namespace firn {

// One matrix a level, from the full size down to 16 to 31 pixels a side: rows are 7x7 RGB patches at random places, as
// many of each image as make about `patches` of `count` images; each channel has mean 0 and deviation 1 over all.
// ConfigError for images below 7 pixels a side.
std::vector<Matrix> pyramid_patches(const ImageSet& images, int64_t count, int64_t patches, uint64_t seed);

}  // namespace firn
