// A descriptor is created, given attributes, and finalised; only then may another refer to it.
#include "kernels/choice/cudnn_graph.h"

#include <algorithm>

#include "kernels/core/cuda_check.h"

namespace firn {

void check(cudnnStatus_t status, std::source_location at) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  check_alive(at);
  char details[512] = {};
  cudnnGetLastErrorString(details, sizeof details);
  std::string text = details;
  std::replace(text.begin(), text.end(), '\n', ' ');
  const std::string message = fmt::format("cuDNN: {}{}{}", cudnnGetErrorString(status), text.empty() ? "" : ": ", text);
  if (status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
      status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
    throw OutOfMemory(message, at);
  throw DeviceError(message, at);
}

}  // namespace firn

namespace firn::kernels::cudnn {

namespace {

template <class T>
constexpr cudnnBackendAttributeType_t attribute_type = CUDNN_TYPE_BACKEND_DESCRIPTOR;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<int64_t> = CUDNN_TYPE_INT64;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<bool> = CUDNN_TYPE_BOOLEAN;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<float> = CUDNN_TYPE_FLOAT;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<double> = CUDNN_TYPE_DOUBLE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<char> = CUDNN_TYPE_CHAR;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<void*> = CUDNN_TYPE_VOID_PTR;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendKnobType_t> = CUDNN_TYPE_KNOB_TYPE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

Handle make(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t raw = nullptr;
  check(cudnnBackendCreateDescriptor(type, &raw));
  return Handle(raw, [](void* d) { cudnnBackendDestroyDescriptor(d); });
}

template <class T>
void set(const Handle& d, cudnnBackendAttributeName_t name, std::span<const T> values) {
  check(cudnnBackendSetAttribute(d.get(), name, attribute_type<T>, static_cast<int64_t>(values.size()), values.data()));
}
template <class T>
void set(const Handle& d, cudnnBackendAttributeName_t name, const T& value) {
  set(d, name, std::span<const T>(&value, 1));
}
void set(const Handle& d, cudnnBackendAttributeName_t name, const Handle& value) {
  void* raw = value.get();
  check(cudnnBackendSetAttribute(d.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw));
}

// What a descriptor refers to lives as long as it does.
Handle keeping(const Handle& d, std::vector<Handle> parts) {
  parts.push_back(d);
  return Handle(std::make_shared<std::vector<Handle>>(std::move(parts)), d.get());
}

Handle finalise(Handle d) {
  check(cudnnBackendFinalize(d.get()));
  return d;
}

template <class T>
T get(const Handle& d, cudnnBackendAttributeName_t name) {
  T value{};
  int64_t count = 0;
  check(cudnnBackendGetAttribute(d.get(), name, attribute_type<T>, 1, &count, &value));
  return value;
}

std::string get_text(const Handle& d, cudnnBackendAttributeName_t name) {
  int64_t count = 0;
  check(cudnnBackendGetAttribute(d.get(), name, CUDNN_TYPE_CHAR, 0, &count, nullptr));
  std::string text(static_cast<size_t>(count), '\0');
  check(cudnnBackendGetAttribute(d.get(), name, CUDNN_TYPE_CHAR, count, &count, text.data()));
  return text.substr(0, text.find('\0'));
}

template <class T, size_t most>
std::vector<T> get_notes(const Handle& d, cudnnBackendAttributeName_t name) {
  std::vector<T> values(most);
  int64_t count = 0;
  check(cudnnBackendGetAttribute(d.get(), name, attribute_type<T>, most, &count, values.data()));
  values.resize(static_cast<size_t>(count));
  return values;
}

// cuDNN fills descriptors that the caller has created, and says how many it would have; at most `most` of them.
std::vector<Handle> get_descriptors(const Handle& d, cudnnBackendAttributeName_t name,
                                    cudnnBackendDescriptorType_t type, size_t most) {
  std::vector<Handle> result;
  std::vector<void*> raw;
  for (size_t i = 0; i < most; ++i) raw.push_back(result.emplace_back(make(type)).get());
  int64_t count = 0;
  check(cudnnBackendGetAttribute(d.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(most), &count,
                                 raw.data()));
  result.resize(std::min(most, static_cast<size_t>(count)));
  return result;
}

cudnnDataType_t data_type(DType t) { return t == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

Handle convolution(const Window& w) {
  const Handle d = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const std::array<int64_t, 2> dilation{1, 1};
  set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  set<int64_t>(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, w.before);
  set<int64_t>(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, w.after);
  set<int64_t>(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, w.stride);
  set<int64_t>(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, dilation);
  return finalise(d);
}

// The attribute names of a convolution's operands, by direction.
struct ConvolutionNames {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
};
constexpr ConvolutionNames forward_names{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
constexpr ConvolutionNames data_names{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
constexpr ConvolutionNames weights_names{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};

Config describe(const Handle& config, std::shared_ptr<const Graph> graph) {
  const Handle engine = get_descriptors(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1).at(0);
  std::string name = fmt::format("engine{}", get<int64_t>(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  for (const Handle& knob : get_descriptors(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                            CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS))
    name += fmt::format(" {}={}", static_cast<int>(get<cudnnBackendKnobType_t>(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)),
                        get<int64_t>(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  const auto numerical =
      get_notes<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT>(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
  const auto behaviour =
      get_notes<cudnnBackendBehaviorNote_t, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT>(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE);
  const auto noted = [](const auto& notes, auto note) { return std::ranges::find(notes, note) != notes.end(); };
  return {.descriptor = config,
          .graph = std::move(graph),
          .name = name,
          .tensor_cores = noted(numerical, CUDNN_NUMERICAL_NOTE_TENSOR_CORE),
          .deterministic = !noted(numerical, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
          .exact_inputs = !noted(numerical, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS),
          .full_precision_sums = !noted(numerical, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION),
          .compiled_at_run_time = noted(behaviour, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)};
}

}  // namespace

Target Target::device(cudnnHandle_t handle) {
  Target t;
  t.handle_ = handle;
  return t;
}

Target Target::described(const std::string& properties) {
  Target t;
  const Handle d = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  set<char>(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, properties);
  t.properties_ = finalise(d);
  return t;
}

std::string Target::description(cudnnHandle_t handle) {
  const Handle d = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  set(d, CUDNN_ATTR_DEVICEPROP_HANDLE, handle);
  return get_text(finalise(d), CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
}

Value Graph::add_tensor(const Sizes& sizes, DType type, Place place) {
  tensors_.push_back({sizes, type, place});
  return static_cast<Value>(tensors_.size());
}

Value Graph::input(const Sizes& sizes, DType type) { return add_tensor(sizes, type, Place::device); }

Value Graph::constant(float value) {
  const Value v = add_tensor({1, 1, 1, 1}, DType::f32, Place::host);
  constants_.emplace_back(v, value);
  return v;
}

void Graph::output(Value v, DType type) {
  TensorSpec& t = tensors_[static_cast<size_t>(v - 1)];
  t.place = Place::device;
  t.type = type;
}

Value Graph::conv_forward(const Window& window, Value x, Value w, const Sizes& y, double alpha) {
  const Value v = add_tensor(y, DType::f32, Place::kernel);
  operations_.push_back({Operation::Kind::forward, x, w, v, window, alpha, {}, 0});
  return v;
}

Value Graph::conv_backward_data(const Window& window, Value y, Value w, const Sizes& x, double alpha) {
  const Value v = add_tensor(x, DType::f32, Place::kernel);
  operations_.push_back({Operation::Kind::data, v, w, y, window, alpha, {}, 0});
  return v;
}

Value Graph::conv_backward_weights(const Window& window, Value x, Value y, const Sizes& w, double alpha) {
  const Value v = add_tensor(w, DType::f32, Place::kernel);
  operations_.push_back({Operation::Kind::weights, x, v, y, window, alpha, {}, 0});
  return v;
}

Value Graph::pointwise(cudnnPointwiseMode_t mode, Value a, Value b) {
  Sizes sizes = tensors_[static_cast<size_t>(a - 1)].sizes;
  for (size_t i = 0; b && i < sizes.size(); ++i)
    sizes[i] = std::max(sizes[i], tensors_[static_cast<size_t>(b - 1)].sizes[i]);
  const Value v = add_tensor(sizes, DType::f32, Place::kernel);
  operations_.push_back({Operation::Kind::pointwise, a, b, v, {}, 1, mode, -1});
  return v;
}

Value Graph::leaky_relu(Value x, double slope) {
  const Value v = pointwise(CUDNN_POINTWISE_RELU_FWD, x, 0);
  operations_.back().slope = slope;
  return v;
}

std::string Graph::text() const {
  std::string all = fmt::format("{};", alignment_);
  const auto put = [&](auto... numbers) { ((all += fmt::format("{} ", numbers)), ...); };
  for (const TensorSpec& t : tensors_) {
    for (const int64_t size : t.sizes) put(size);
    put(static_cast<int>(t.type), static_cast<int>(t.place));
  }
  for (const Operation& o : operations_) {
    put(static_cast<int>(o.kind), o.x, o.w, o.y, o.alpha, static_cast<int>(o.mode), o.slope);
    for (const auto& sizes : {o.window.stride, o.window.before, o.window.after}) put(sizes[0], sizes[1]);
  }
  for (const auto& [value, number] : constants_) put(value, number);
  return all;
}

Handle Graph::finalised(const Target& target) const {
  std::vector<Handle> tensors;
  for (const TensorSpec& t : tensors_) {
    const auto [N, H, W, C] = t.sizes;
    const std::array<int64_t, 4> dims{N, C, H, W}, strides{H * W * C, 1, W * C, C};
    const Handle d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, static_cast<Value>(tensors.size() + 1));
    set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(t.type));
    set<int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS, dims);
    set<int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES, strides);
    set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, t.place == Place::device ? alignment_ : kUsualAlignment);
    set(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, t.place == Place::kernel);
    set(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, t.place == Place::host);
    tensors.push_back(finalise(d));
  }
  const auto tensor = [&](Value v) { return tensors[static_cast<size_t>(v - 1)]; };

  std::vector<Handle> parts = tensors;
  std::vector<void*> raw;
  for (const Operation& op : operations_) {
    Handle d;
    if (op.kind == Operation::Kind::pointwise) {
      const Handle& map = parts.emplace_back(make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
      set(map, CUDNN_ATTR_POINTWISE_MODE, op.mode);
      set(map, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
      if (op.mode == CUDNN_POINTWISE_RELU_FWD) set(map, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, op.slope);
      d = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
      set(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, finalise(map));
      set(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(op.x));
      if (op.w) set(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(op.w));
      set(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(op.y));
    } else {
      const ConvolutionNames& names = op.kind == Operation::Kind::forward ? forward_names
                                      : op.kind == Operation::Kind::data  ? data_names
                                                                          : weights_names;
      d = make(names.operation);
      set(d, names.convolution, parts.emplace_back(convolution(op.window)));
      set(d, names.x, tensor(op.x));
      set(d, names.w, tensor(op.w));
      set(d, names.y, tensor(op.y));
      set(d, names.alpha, static_cast<float>(op.alpha));
      set(d, names.beta, 0.0f);
    }
    raw.push_back(parts.emplace_back(finalise(d)).get());
  }
  const Handle graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  check(cudnnBackendSetAttribute(graph.get(), CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 static_cast<int64_t>(raw.size()), raw.data()));
  if (target.handle()) set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle());
  return keeping(finalise(graph), std::move(parts));
}

std::vector<Config> configs(const Graph& graph, const Target& target, size_t most) {
  std::vector<Config> result;
  const auto shared = std::make_shared<const Graph>(graph);
  try {
    const Handle finalised = graph.finalised(target);
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      const Handle heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
      set(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, finalised);
      set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, mode);
      if (target.properties()) set(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target.properties());
      if (cudnnBackendFinalize(heuristic.get()) != CUDNN_STATUS_SUCCESS) continue;  // no engine in this mode
      for (const Handle& c :
           get_descriptors(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, most)) {
        Config config = describe(keeping(c, {finalised}), shared);
        if (std::ranges::find(result, config.name, &Config::name) == result.end()) result.push_back(std::move(config));
      }
    }
  } catch (const DeviceLost&) {
    throw;
  } catch (const OutOfMemory&) {
    throw;
  } catch (const DeviceError&) {
    // A graph that cuDNN does not understand has no configuration.
  }
  return result;
}

Plan::Plan(const Config& config, const Target& target)
    : descriptor_(make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)), graph_(config.graph) {
  set(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.descriptor);
  finalise_for(target);
  descriptor_ = keeping(descriptor_, {config.descriptor});
}

Plan::Plan(const std::string& serialised, std::shared_ptr<const Graph> graph, const Target& target)
    : descriptor_(make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)), graph_(std::move(graph)) {
  set<char>(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, serialised);
  finalise_for(target);
}

void Plan::finalise_for(const Target& target) {
  if (target.handle()) set(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle());
  if (target.properties()) set(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target.properties());
  finalise(descriptor_);
  workspace_ = static_cast<size_t>(get<int64_t>(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
}

std::string Plan::serialised() const { return get_text(descriptor_, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION); }

void Plan::execute(cudnnHandle_t handle, std::span<const std::pair<Value, void*>> operands, void* workspace) const {
  std::vector<int64_t> ids;
  std::vector<void*> pointers;
  for (const auto& [id, pointer] : operands) {
    ids.push_back(id);
    pointers.push_back(pointer);
  }
  for (const auto& [id, value] : graph_->constants()) {
    ids.push_back(id);
    pointers.push_back(const_cast<float*>(&value));
  }
  const Handle pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  set<int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  set<void*>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
  set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
  check(cudnnBackendExecute(handle, descriptor_.get(), finalise(pack).get()));
}

}  // namespace firn::kernels::cudnn
