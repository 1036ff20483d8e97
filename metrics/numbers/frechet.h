// Frechet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500; spec of FID).
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

enum class Covariance { by_n_less_one, by_n };  // pytorch-fid, clean-fid, torch-fidelity; NVIDIA

// What the distance takes from one side.
struct Gaussian {
  int64_t rows = 0;  // images
  std::vector<double> mean;
  double scatter = 0;  // sum of squares about the mean
  Matrix root;         // the centred features, or their triangle where images are more than features
};
Gaussian fitted(const Matrix& features);  // for many distances; Error for fewer than 2 images

// |mean_a - mean_b|^2 + Tr(A + B - 2 (A B)^(1/2)), never negative. Rows are images. The root's trace
// is the nuclear norm of the product of the roots: never complex, and exact for covariances of any rank. ShapeError for
// features of two networks, Error for fewer than 2 images.
double frechet_distance(const Gaussian& a, const Matrix& b, Covariance covariance = Covariance::by_n_less_one);
double frechet_distance(const Matrix& a, const Matrix& b, Covariance covariance = Covariance::by_n_less_one);

}  // namespace firn
