// Frechet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500; spec of FID).
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

enum class Covariance { by_n_less_one, by_n };  // pytorch-fid, clean-fid, torch-fidelity; NVIDIA

// |mean_a - mean_b|^2 + Tr(A + B - 2 (A B)^(1/2)), never negative. Rows are images. The root's trace
// is the nuclear norm of the product of the centred features, or of their triangles where images are more than
// features: never complex, and exact for covariances of any rank. ShapeError for features of two networks, Error for
// fewer than 2 images.
double frechet_distance(const Matrix& a, const Matrix& b, Covariance covariance = Covariance::by_n_less_one);

}  // namespace firn
