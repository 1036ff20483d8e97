// Images in another size, as a linear map of rows and one of columns: products of matrices, so differentiable to any
// order.
#pragma once
#include "engine/ops.h"

namespace firn {

class ImageResize {
 public:
  ImageResize() = default;  // as they are
  // Each new pixel is the mean of the old ones that it touches, as in PyTorch's adaptive average pooling.
  ImageResize(int height, int width, int new_height, int new_width, DType type, const Device& device);
  Tensor operator()(const Tensor& x) const;  // [N,H,W,C] -> [N,H',W',C]

 private:
  Tensor rows_, columns_;  // [1,H',H], [1,W',W]; undefined: nothing changes
};

}  // namespace firn
