// What feature networks are built of: layers that read themselves from a file, batch norm folded into convolutions.
#pragma once
#include <string>

#include "models/features/features.h"
#include "models/layers/maker.h"

namespace firn {

inline BiasAct relu() { return {.slope = 0}; }
inline BiasAct relu6() { return {.slope = 0, .clamp = 6}; }
inline constexpr double kNormEps = 1e-5;  // PyTorch's

// scale x + shift in that type.
Tensor scaled(const Tensor& images, double scale, double shift, DType type);

// [N,H,W,C] -> [N,C], the mean over all pixels, as f32 (f64).
Tensor mean_of_pixels(const Tensor& x);

Tensor widened(const Tensor& x);  // bf16 as f32

// Of a convolutional network: what it ends in before it takes the mean over all pixels, and that mean.
FeatureNetwork::Levels one_level(const Tensor& map);

// A convolution, or a fully connected layer, with what follows it.
struct FeatureLayer {
  Tensor w, b;  // b undefined: none
  Conv2d conv;
  BiasAct act;
  Tensor gamma, beta{};  // of batch norm by the batch, where it is not folded
  double eps = kNormEps;

  int64_t in() const { return w.dim(-1) * conv.groups; }
  int64_t out() const { return w.dim(0); }
  Tensor operator()(const Tensor& x) const;
};

// How files name a layer, and what it is.
struct LayerPlan {
  std::string name;    // of NAME.weight, and NAME.bias where the file has one
  char joint = '.';    // in place of that dot
  std::string norm{};  // of NORM.weight (1 where the file has none), .bias, .running_mean and .running_var; empty: none
  double eps = kNormEps;
  std::string gain{};            // of [n] that multiplies the outputs (LayerScale); empty: none
  int64_t in;                    // channels
  int64_t out = 0;               // 0: as many as the file has
  int window = 1, window_x = 0;  // 0: as window
  int stride = 1, pad = -1;      // -1: half the window
  int behind = 0;                // padding more behind the image
  bool depthwise = false;
  BiasAct act = {.slope = 0};
};

// MobileNetV2's block, which EfficientNet has, too: more channels, a convolution of each by itself, and fewer again.
struct InvertedResidual {
  FeatureLayer expand, depthwise, project;  // without expand.w: as many channels as come in
  bool adds;                                // x to what comes out

  Tensor operator()(const Tensor& x) const;
};

// What blocks of these numbers, in ascending order, make of x.
std::vector<Tensor> maps_behind(const std::vector<InvertedResidual>& blocks, Tensor x, const std::vector<int>& numbers);

// Of rows, over the last axis.
struct LayerNorm {
  Tensor gamma, beta;
  double eps;
  Tensor operator()(const Tensor& x) const { return layer_norm(x, gamma, beta, eps); }
};

class LayerReader {
 public:
  LayerReader(Parameters& list, const SafetensorsFile& file, FeatureOptions options, const Device& device)
      : list_(list), file_(file), options_(options), device_(device) {}
  // IoError where the file has no such layer, or one of other sizes. Numbers of outputs are the file's.
  FeatureLayer operator()(const LayerPlan& plan) const;
  LayerNorm norm(const std::string& name, int64_t channels, double eps) const;
  // [rows,columns], whatever the shape in the file; one of the two may be -1.
  Tensor matrix(const std::string& name, int64_t rows, int64_t columns) const;
  bool has(const std::string& name) const { return file_.contains(name); }

 private:
  Tensor tensor(const std::string& name, std::span<const double> values, Shape shape) const;
  std::vector<double> channels(const std::string& name, int64_t count) const;

  Parameters& list_;
  const SafetensorsFile& file_;
  FeatureOptions options_;
  Device device_;
};

// Fully connected: x [N,in], w [out,in] -> [N,out].
Tensor fully_connected(const Tensor& x, const FeatureLayer& layer);

// The same of each token: x [...,in] -> [...,out].
Tensor each_token(const FeatureLayer& layer, const Tensor& x);

// What stands before the names of a file that holds a tensor of that name: the first of `prefixes` that does, or
// nothing.
std::string prefix_of(const SafetensorsFile& file, const std::string& name,
                      std::initializer_list<const char*> prefixes);

// The shape of a tensor of a file, empty where there is none.
std::vector<int64_t> shape_in(const SafetensorsFile& file, const std::string& name);

}  // namespace firn
