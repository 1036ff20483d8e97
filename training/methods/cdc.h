// Cross-domain correspondence (Ojha et al. 2021, arXiv 2104.06820): images stay as far from each other, relative to
// other images, as the source's from the same latents; and D judges whole images only around a few latents, patches
// elsewhere.
#pragma once
#include "training/methods/method.h"

namespace firn {

struct Cdc {
  static constexpr std::string_view kind = "cdc";
  double weight = 1000;
  int anchors = 10, anchor_every = 4;
  double anchor_noise = 0.05;
  std::string patches;  // activations of D, as its taps are called
  void visit(OptionVisitor& v);
};

// Samples that are compared with each other: four as published, or the fewest from three on that divide n.
int64_t cdc_group(int64_t n);

// The mean over layers, samples i and samples j of i's group, j not i, of p log(p / q). p of row i is the softmax over
// j of the cosines of activations of i and j in the source, q the same of `now`. `layers` are {now, source}, each
// [N,...]; `pairs` are cdc_pairs(N).
Tensor distance_consistency(const std::vector<std::pair<Tensor, Tensor>>& layers, const Tensor& pairs);
// Where the products of activations of a batch have those of i and j, of i and i, of j and j: [3 N (group - 1)] i32.
// ShapeError for fewer than three samples.
Tensor cdc_pairs(int64_t n, const Device& device);

Method cdc_method();

}  // namespace firn
