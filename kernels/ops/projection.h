// The head of a projection discriminator (Miyato & Koyama 2018, arXiv 1802.05637): ReLU, sums over the pixels, and a
// score that is linear in them, with an embedding of the class where there are classes.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// The score of a sample, s = <w, h> / w_sigma + b + <embed[label], h> / embed_sigma. A label that embed has no row for
// adds nothing.
template <class A>
struct ProjectionHead {
  const A* w;             // [C]
  const A* b;             // one number
  const A* embed;         // [K,C] or null
  const int32_t* labels;  // [N], goes with embed
  const A* w_sigma;       // one number, or null: 1
  const A* embed_sigma;
  int64_t K, C;
  FIRN_DEVICE A w_scale() const { return w_sigma ? 1 / *w_sigma : A(1); }
  FIRN_DEVICE A embed_scale() const { return embed_sigma ? 1 / *embed_sigma : A(1); }
  FIRN_DEVICE const A* row_of(int64_t n) const {
    return embed && labels[n] >= 0 && labels[n] < K ? embed + labels[n] * C : nullptr;
  }
};

// h[n,c] = sum over the pixels of max(x, 0), and the scores; x [N,P,C]. A block has a sample.
template <class T>
struct Projection {
  static constexpr const char* name = "projection";
  acc_t<T>* scores;  // [N]
  acc_t<T>* terms;   // [2,N]: <w, h> / w_sigma, <embed, h> / embed_sigma
  acc_t<T>* h;       // [N,C]
  const T* x;
  ProjectionHead<acc_t<T>> head;
  int64_t N, P;
  FIRN_DEVICE int64_t blocks() const { return N; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gx[n,p,c] = g[n] (w / w_sigma + embed / embed_sigma) where x > 0; g [N] is the gradient of the scores.
template <class T>
struct ProjectionInputGrad {
  static constexpr const char* name = "projection_input_grad";
  T* gx;
  const acc_t<T>* g;
  const T* x;
  ProjectionHead<acc_t<T>> head;
  int64_t N, P;
  FIRN_DEVICE int64_t pixels_per_block() const { return 1 + 16384 / head.C; }
  FIRN_DEVICE int64_t blocks_per_sample() const { return (P + pixels_per_block() - 1) / pixels_per_block(); }
  FIRN_DEVICE int64_t blocks() const { return N * blocks_per_sample(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gembed[k,c] = sum of g h over the samples with label k, in their order, / embed_sigma; gw likewise over all; gb; and
// of each sigma, - sum of g term / sigma. A block has a row of gembed, the last one all else.
template <class A>
struct ProjectionWeightGrad {
  static constexpr const char* name = "projection_weight_grad";
  A* gw;
  A* gb;
  A* gembed;  // null without classes
  A* gw_sigma;
  A* gembed_sigma;
  const A* g;
  const A* terms;
  const A* h;
  ProjectionHead<A> head;
  int64_t N;
  FIRN_DEVICE int64_t blocks() const { return (gembed ? head.K : 0) + 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
