// What the sliced Wasserstein distance of images looks at: small patches at each scale of a Laplacian pyramid.
#pragma once
#include <set>
#include <utility>
#include <vector>

#include "metrics/images/image_set.h"
#include "metrics/numbers/matrix.h"

namespace firn {

struct Patches {
  std::vector<Matrix> levels;  // [patches, 7*7*3] of each level, from the full size down to 16 to 31 pixels a side
  std::set<std::pair<int, int>> sizes;  // widths and heights of the images
};
// At random places, as many of each image as make about `patches` of `count` images; each channel has mean 0 and
// deviation 1 over all. ConfigError for images below 7 pixels a side, and for images with other numbers of levels.
Patches pyramid_patches(const ImageSet& images, int64_t count, int64_t patches, uint64_t seed);

}  // namespace firn
