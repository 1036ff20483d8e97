#include <cudnn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/providers/stand_in.h"

namespace firn::providers {

StandIn& stand_in() {
  static StandIn s;
  return s;
}

namespace {

// Attributes as the bytes that were set, or as the descriptors that were named.
struct Descriptor {
  cudnnBackendDescriptorType_t type;
  std::map<int, std::vector<uint8_t>> bytes;
  std::map<int, std::vector<Descriptor*>> parts;
  bool final = false;

  template <class T>
  std::vector<T> all(int name) const {
    const auto& b = bytes.at(name);
    std::vector<T> values(b.size() / sizeof(T));
    std::memcpy(values.data(), b.data(), b.size());
    return values;
  }
  template <class T>
  T one(int name) const {
    T value;
    std::memcpy(&value, bytes.at(name).data(), sizeof value);
    return value;
  }
  Descriptor& part(int name) const { return *parts.at(name).at(0); }
};

size_t size_of(cudnnBackendAttributeType_t t) {
  switch (t) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
      return 8;
    default:
      return 4;
  }
}

// A tensor during execution: where its elements are by dims [N,C,H,W] and strides, and its values in double.
struct Tensor {
  std::vector<int64_t> dims, strides;
  std::vector<double> values;  // of a tensor inside the kernel, or a copy of one outside
  int64_t index(int64_t n, int64_t c, int64_t y, int64_t x) const {
    const auto at = [&](size_t d, int64_t i) { return (dims[d] == 1 ? 0 : i) * strides[d]; };
    return at(0, n) + at(1, c) + at(2, y) + at(3, x);
  }
  double& operator()(int64_t n, int64_t c, int64_t y, int64_t x) {
    return values.at(static_cast<size_t>(index(n, c, y, x)));
  }
  template <class F>
  void for_each(F f) const {
    for (int64_t n = 0; n < dims[0]; ++n)
      for (int64_t c = 0; c < dims[1]; ++c)
        for (int64_t y = 0; y < dims[2]; ++y)
          for (int64_t x = 0; x < dims[3]; ++x) f(n, c, y, x);
  }
};

class Execution {
 public:
  explicit Execution(const Descriptor& pack) {
    const auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const auto data = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    for (size_t i = 0; i < ids.size(); ++i) memory_[ids[i]] = data.at(i);
  }

  // Whether addresses are multiples of what was said of them.
  bool is_aligned(const Descriptor& op) const {
    for (const auto& [name, parts] : op.parts)
      for (const Descriptor* d : parts) {
        if (d->type != CUDNN_BACKEND_TENSOR_DESCRIPTOR) continue;
        const auto at = memory_.find(d->one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID));
        const auto alignment = static_cast<uintptr_t>(d->one<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT));
        if (at != memory_.end() && !d->one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE) &&
            reinterpret_cast<uintptr_t>(at->second) % alignment)
          return false;
      }
    return true;
  }

  void run(const Descriptor& op) {
    switch (op.type) {
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return convolution(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        return convolution(
            op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX);
      case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        return convolution(
            op, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
      default:
        return pointwise(op);
    }
  }

 private:
  Tensor& tensor(const Descriptor& d) {
    const auto id = d.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const auto [place, fresh] = tensors_.try_emplace(id);
    Tensor& t = place->second;
    if (!fresh) return t;
    t.dims = d.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
    t.strides = d.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    t.values.resize(static_cast<size_t>(t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3]));
    return t;
  }
  static bool is_bf16(const Descriptor& d) {
    return d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
  }
  Tensor& input(const Descriptor& d) {
    Tensor& t = tensor(d);
    if (d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) return t;
    const void* from = memory_.at(d.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID));
    if (d.one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {
      t.values = {*static_cast<const float*>(from)};
    } else if (is_bf16(d)) {
      t.values = from_device<bf16>(from, t.values.size());
    } else {
      t.values = from_device<float>(from, t.values.size());
    }
    return t;
  }
  void store(const Descriptor& d) {
    if (d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) return;
    void* to = memory_.at(d.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID));
    if (is_bf16(d))
      to_device<bf16>(to, tensor(d).values);
    else
      to_device<float>(to, tensor(d).values);
  }

  // Of y = alpha conv(x, w) and its adjoints: the sum is the same, into whichever operand is the result.
  void convolution(const Descriptor& op, int x_name, int w_name, int y_name, int window_name, int alpha_name,
                   int result_name) {
    const Descriptor& result = op.part(result_name);
    for (const int name : {x_name, w_name, y_name})
      if (name != result_name) input(op.part(name));
    Tensor &x = tensor(op.part(x_name)), &w = tensor(op.part(w_name)), &y = tensor(op.part(y_name));
    const Descriptor& window = op.part(window_name);
    const auto stride = window.all<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    const auto before = window.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    const auto alpha = op.one<float>(alpha_name);
    Tensor& into = tensor(result);
    std::fill(into.values.begin(), into.values.end(), 0);
    const int64_t outputs = w.dims[0] * w.dims[1] / x.dims[1];  // of a group
    y.for_each([&](int64_t n, int64_t o, int64_t i, int64_t j) {
      for (int64_t c = 0; c < w.dims[1]; ++c)
        for (int64_t ky = 0; ky < w.dims[2]; ++ky)
          for (int64_t kx = 0; kx < w.dims[3]; ++kx) {
            const int64_t row = i * stride[0] + ky - before[0], column = j * stride[1] + kx - before[1];
            if (row < 0 || row >= x.dims[2] || column < 0 || column >= x.dims[3]) continue;
            double &a = x(n, o / outputs * w.dims[1] + c, row, column), &b = w(o, c, ky, kx), &v = y(n, o, i, j);
            if (&into == &y)
              v += alpha * a * b;
            else if (&into == &x)
              a += alpha * v * b;
            else
              b += alpha * v * a;
          }
    });
    store(result);
  }

  void pointwise(const Descriptor& op) {
    const Descriptor& map = op.part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Descriptor& result = op.part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const auto mode = map.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    Tensor& a = input(op.part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    Tensor* b = op.parts.contains(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)
                    ? &input(op.part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC))
                    : nullptr;
    Tensor& y = tensor(result);
    y.for_each([&](int64_t n, int64_t c, int64_t i, int64_t j) {
      const double u = a(n, c, i, j), v = b ? (*b)(n, c, i, j) : 0;
      y(n, c, i, j) = mode == CUDNN_POINTWISE_ADD   ? u + v
                      : mode == CUDNN_POINTWISE_MUL ? u * v
                      : mode == CUDNN_POINTWISE_MIN ? std::fmin(u, v)
                      : mode == CUDNN_POINTWISE_MAX ? std::fmax(u, v)
                      : u > 0                       ? u
                                                    : u * map.one<double>(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE);
    });
    store(result);
  }

  std::map<int64_t, void*> memory_;
  std::map<int64_t, Tensor> tensors_;
};

const std::vector<Descriptor*>& operations(const Descriptor& graph) {
  return graph.parts.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

// What real cuDNN does: no engine gives f32 weight gradients of bf16 operands by itself, or of odd channels at all.
bool has_engines(const Descriptor& graph) {
  const auto& ops = operations(graph);
  if (ops.size() > 1 && !stand_in().fused) return false;
  const Descriptor& first = *ops.front();
  if (first.type != CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR) return true;
  const Descriptor& x = first.part(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X);
  const Descriptor& dw = first.part(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
  const auto type = [](const Descriptor& d) { return d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE); };
  if (type(x) != CUDNN_DATA_BFLOAT16 || type(dw) != CUDNN_DATA_FLOAT) return true;
  return ops.size() > 1 && x.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)[1] % 2 == 0;
}

// A plan as text is its engine and its graph.
nlohmann::json text_of(const Descriptor& d) {
  nlohmann::json text{{"type", static_cast<int>(d.type)}, {"bytes", d.bytes}, {"parts", nlohmann::json::object()}};
  for (const auto& [name, parts] : d.parts)
    for (const Descriptor* part : parts) text["parts"][std::to_string(name)].push_back(text_of(*part));
  return text;
}
Descriptor* from_text(const nlohmann::json& text) {
  static std::deque<Descriptor> all;  // for good
  Descriptor& d = all.emplace_back();
  d.type = static_cast<cudnnBackendDescriptorType_t>(text.at("type").get<int>());
  text.at("bytes").get_to(d.bytes);
  d.final = true;
  for (const auto& [name, parts] : text.at("parts").items())
    for (const auto& part : parts) d.parts[std::stoi(name)].push_back(from_text(part));
  return &d;
}

const Descriptor& engine_of(const Descriptor& config) { return config.part(CUDNN_ATTR_ENGINECFG_ENGINE); }
int64_t index_of(const Descriptor& config) { return engine_of(config).one<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX); }

template <class T>
void put(Descriptor& d, int name, std::vector<T> values) {
  auto& b = d.bytes[name];
  b.resize(values.size() * sizeof(T));
  std::memcpy(b.data(), values.data(), b.size());
}

Descriptor engine(int64_t index) {
  Descriptor d{CUDNN_BACKEND_ENGINE_DESCRIPTOR, {}, {}, true};
  std::vector<cudnnBackendNumericalNote_t> notes;
  if (index == changes_results) notes.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  if (index != exact) notes.push_back(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  put<int64_t>(d, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, {index});
  put(d, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, notes);
  put<cudnnBackendBehaviorNote_t>(d, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, {});
  return d;
}

// Fills the descriptors that the caller has made, as cuDNN does.
cudnnStatus_t give(const std::vector<Descriptor>& values, int64_t most, int64_t* count, void* into) {
  *count = static_cast<int64_t>(values.size());
  for (size_t i = 0; i < values.size() && i < static_cast<size_t>(most); ++i)
    *static_cast<Descriptor**>(into)[i] = values[i];
  return CUDNN_STATUS_SUCCESS;
}

// Plans are made on several threads.
std::mutex& mutex() {
  static std::mutex m;
  return m;
}

}  // namespace
}  // namespace firn::providers

using namespace firn::providers;
namespace ptx = firn::ptx;

extern "C" {
size_t cudnnGetVersion() { return 91900; }
const char* cudnnGetErrorString(cudnnStatus_t) { return "the stand-in refuses"; }
void cudnnGetLastErrorString(char* message, size_t size) { std::strncpy(message, "two\nlines", size); }
static char handles[2];  // of each GPU
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(handles + stand_in().device);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  const bool same = reinterpret_cast<const char*>(handle) - handles == device_of(stream);
  return same ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* d) {
  *d = new Descriptor{type, {}, {}, false};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
  delete static_cast<Descriptor*>(d);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  Descriptor& d = *static_cast<Descriptor*>(to);
  if (d.final) return CUDNN_STATUS_BAD_PARAM;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto* parts = static_cast<Descriptor* const*>(values);
    for (int64_t i = 0; i < count; ++i)
      if (!parts[i]->final) return CUDNN_STATUS_BAD_PARAM;
    d.parts[name].assign(parts, parts + count);
  } else {
    const auto* bytes = static_cast<const uint8_t*>(values);
    d.bytes[name].assign(bytes, bytes + static_cast<size_t>(count) * size_of(type));
  }
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t of) {
  const std::lock_guard lock(mutex());
  Descriptor& d = *static_cast<Descriptor*>(of);
  d.final = true;
  if (d.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR &&
      (d.one<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) != CUDNN_HEUR_MODE_A ||
       !has_engines(d.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH))))
    return CUDNN_STATUS_NOT_SUPPORTED;
  if (d.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    if (const auto text = d.bytes.find(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION); text != d.bytes.end()) {
      const auto plan = nlohmann::json::parse(text->second, nullptr, false);
      if (plan.is_discarded() || !stand_in().restores) return CUDNN_STATUS_BAD_PARAM;
      ++stand_in().restored;
      d.parts[CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG] = {from_text(plan)};
    } else {
      stand_in().planned.push_back(index_of(d.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)));
    }
    const int64_t index = index_of(d.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
    if (index == fails_to_plan) return CUDNN_STATUS_NOT_SUPPORTED;
    put<int64_t>(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                 {index == too_much_workspace ? int64_t{1} << 30
                  : index == tensor_cores     ? 4096
                                              : 0});
  }
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most, int64_t* count, void* values) {
  const std::lock_guard lock(mutex());
  const Descriptor& d = *static_cast<Descriptor*>(of);
  const auto give_text = [&](const std::string& text) {
    *count = static_cast<int64_t>(text.size());
    std::memcpy(values, text.data(), std::min(text.size(), static_cast<size_t>(most)));
    return CUDNN_STATUS_SUCCESS;
  };
  if (name == CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION) return give_text("{}");
  if (name == CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION)
    return give_text(text_of(d.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)).dump());
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
    ++stand_in().asked;
    std::vector<Descriptor> configs;
    static std::map<int64_t, Descriptor> engines;
    for (const int64_t index : {changes_results, too_much_workspace, fails_to_plan, tensor_cores, exact}) {
      Descriptor& e = engines.try_emplace(index, engine(index)).first->second;
      Descriptor config{CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, {}, {}, true};
      config.parts[CUDNN_ATTR_ENGINECFG_ENGINE] = {&e};
      config.parts[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] = d.parts.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      configs.push_back(config);
    }
    return give(configs, most, count, values);
  }
  if (name == CUDNN_ATTR_ENGINECFG_ENGINE) return give({engine_of(d)}, most, count, values);
  if (name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES) return give({}, most, count, values);
  const auto& bytes = d.bytes.at(name);
  *count = static_cast<int64_t>(bytes.size() / size_of(type));
  std::memcpy(values, bytes.data(), std::min(bytes.size(), static_cast<size_t>(most) * size_of(type)));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t of, cudnnBackendDescriptor_t with) {
  const Descriptor &plan = *static_cast<Descriptor*>(of), &pack = *static_cast<Descriptor*>(with);
  const Descriptor& config = plan.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  const bool needs = plan.one<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) > 0;
  if (needs && !pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE)) return CUDNN_STATUS_BAD_PARAM;
  stand_in().executed.push_back(index_of(config));
  if (index_of(config) == stand_in().faulty) {
    stand_in().lost = cudaErrorIllegalAddress;
    return stand_in().says_so ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
  }
  const auto& all = operations(config.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
  for (const Descriptor* op : all)
    if (op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
      stand_in().weight_gradients.push_back(
          op->part(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW).all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS));
  const auto execution = std::make_shared<Execution>(pack);
  if (!std::ranges::all_of(all, [&](const Descriptor* op) { return execution->is_aligned(*op); }))
    return CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER;
  ptx::submit({[&all, pack = *execution] {  // each time a graph is launched, too
    Execution now = pack;
    for (const Descriptor* op : all) now.run(*op);
    return cudaSuccess;
  }});
  return CUDNN_STATUS_SUCCESS;
}
}
