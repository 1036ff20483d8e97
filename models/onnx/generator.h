// A generator as an ONNX graph, of what its ops do while it runs.
#pragma once
#include "io/onnx.h"
#include "models/network.h"

namespace firn::onnx {

enum class Part { whole, mapping, synthesis };

struct Options {
  Part part = Part::whole;
  NoiseMode noise = NoiseMode::constant;  // or none
  bool bytes = true;                      // images of 0..255, u8, rather than f32 about [-1,1]
  // Of style-based networks, an input `psi`: the truncation, of the first `cutoff` styles (-1: all). It is this where
  // none is given, or has to be given.
  double psi = 1;
  int cutoff = -1;
  bool psi_by_default = true;
};

// z [N,z_dim], labels [N] i64 where there are classes, psi [] -> images [N,C,H,W]; z, labels, psi -> ws
// [N,num_ws,w_dim]; ws -> images. ConfigError for a network that does not have what is asked for, or cannot be written.
OnnxGraph to_graph(const Generator& g, const Options& options);

// Whether there is anything to truncate.
bool takes_psi(const Generator& g, const Options& options);

}  // namespace firn::onnx
