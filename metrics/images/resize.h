// Images as feature networks take them. How they are resized changes every figure, so it is part of a metric's name.
#pragma once
#include <vector>

#include "io/images.h"

namespace firn {

enum class Resizer {
  tensorflow,  // bilinear as TensorFlow 1 has it, without half a pixel: source = target * (from / to)
  bilinear,    // of pixel centres, nothing averaged when shrinking: pytorch-fid
  bicubic      // Pillow's, in floats, averaging when shrinking: clean-fid
};
const char* name_of(Resizer resizer);

// [size,size,3] from 0 to 255, whatever the image's aspect: grey becomes RGB, what is transparent lies on white.
std::vector<float> resized(const Image& image, int size, Resizer resizer);

}  // namespace firn
