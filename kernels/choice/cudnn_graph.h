// cuDNN's operation graphs, engine configurations and plans as plain values. Planning needs either a GPU or only a
// description of one; execution needs the GPU. Descriptors are built late, so a graph is cheap to write and to throw
// away; the price is one walk over its few operations when it is planned.
#pragma once
#include <cudnn.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/core/types.h"

namespace firn {

// DeviceError "cuDNN: ..." with the library's own last words.
void check(cudnnStatus_t, std::source_location at = std::source_location::current());

}  // namespace firn

namespace firn::kernels::cudnn {

using Handle = std::shared_ptr<void>;  // a finalised backend descriptor, destroyed with its last copy

// The GPU that a plan is for.
class Target {
 public:
  static Target device(cudnnHandle_t handle);              // the GPU of this handle
  static Target described(const std::string& properties);  // JSON as cuDNN writes it; DeviceError if it is none
  static std::string description(cudnnHandle_t handle);    // such JSON of the GPU of this handle
  cudnnHandle_t handle() const { return handle_; }
  const Handle& properties() const { return properties_; }

 private:
  cudnnHandle_t handle_ = nullptr;
  Handle properties_;
};

using Sizes = std::array<int64_t, 4>;  // [N,H,W,C]; 1 broadcasts. Weights: [O,KH,KW,I]
using Value = int64_t;                 // a tensor of a graph

constexpr int64_t kUsualAlignment = 16;  // bytes

// Where a filter meets its input: `before` the first row and column, `after` the last.
struct Window {
  std::array<int64_t, 2> stride, before, after;
};

// What is computed. Values are f32 and live inside a kernel, unless they are inputs or made outputs.
class Graph {
 public:
  Value input(const Sizes&, DType);
  Value constant(float);
  void output(Value, DType);
  void align(int64_t bytes) { alignment_ = bytes; }  // addresses of inputs and outputs are multiples of it

  // y = alpha conv(x, w) and its two adjoints.
  Value conv_forward(const Window&, Value x, Value w, const Sizes& y, double alpha = 1);
  Value conv_backward_data(const Window&, Value y, Value w, const Sizes& x, double alpha = 1);
  Value conv_backward_weights(const Window&, Value x, Value y, const Sizes& w, double alpha = 1);

  Value add(Value a, Value b) { return pointwise(CUDNN_POINTWISE_ADD, a, b); }
  Value multiply(Value a, Value b) { return pointwise(CUDNN_POINTWISE_MUL, a, b); }
  Value minimum(Value a, Value b) { return pointwise(CUDNN_POINTWISE_MIN, a, b); }
  Value maximum(Value a, Value b) { return pointwise(CUDNN_POINTWISE_MAX, a, b); }
  Value leaky_relu(Value x, double slope);

  Handle finalised(const Target&) const;
  std::string text() const;  // all that a plan of it depends on
  const std::vector<std::pair<Value, float>>& constants() const { return constants_; }

 private:
  enum class Place { kernel, device, host };
  struct TensorSpec {
    Sizes sizes;
    DType type;
    Place place;
  };
  struct Operation {
    enum class Kind { forward, data, weights, pointwise } kind;
    Value x, w, y;  // of a convolution; a pointwise one maps x, and w unless it is 0, to y
    Window window;
    double alpha;
    cudnnPointwiseMode_t mode;
    double slope;
  };
  Value add_tensor(const Sizes&, DType, Place);
  Value pointwise(cudnnPointwiseMode_t, Value a, Value b);

  std::vector<TensorSpec> tensors_;
  std::vector<Operation> operations_;
  std::vector<std::pair<Value, float>> constants_;
  int64_t alignment_ = kUsualAlignment;
};

// One way to run a graph, as cuDNN proposes it.
struct Config {
  Handle descriptor;
  std::shared_ptr<const Graph> graph;
  std::string name;  // engine and settings: the same on every run of the same library version
  bool tensor_cores, deterministic, exact_inputs, full_precision_sums, compiled_at_run_time;
};

// Best first by cuDNN's own model, the fallback engines last; at most `most` of either kind, as each that is fetched
// costs time. Empty when cuDNN cannot run the graph.
std::vector<Config> configs(const Graph&, const Target&, size_t most = 16);

// A configuration ready to run.
class Plan {
 public:
  Plan(const Config&, const Target&);  // DeviceError when the configuration cannot run there
  // From what serialised() gave for an equal graph, GPU and library. DeviceError when the library refuses it; a text
  // that was changed since may do worse.
  Plan(const std::string& serialised, std::shared_ptr<const Graph>, const Target&);
  std::string serialised() const;
  size_t workspace() const { return workspace_; }
  // Every input and output of the graph with its memory on the device.
  void execute(cudnnHandle_t, std::span<const std::pair<Value, void*>> operands, void* workspace) const;

 private:
  void finalise_for(const Target&);
  Handle descriptor_;
  std::shared_ptr<const Graph> graph_;
  size_t workspace_ = 0;
};

}  // namespace firn::kernels::cudnn
