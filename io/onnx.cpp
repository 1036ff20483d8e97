#include "io/onnx.h"

#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "io/files.h"
#include "io/onnx.pb.h"

namespace firn {
namespace {

namespace file = proto::onnx;

void set(file::ValueInfo& to, const OnnxValue& value) {
  to.set_name(value.name);
  file::TensorType& type = *to.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int>(value.type));
  type.mutable_shape();  // of no axes, if need be
  for (const int64_t size : value.shape) {
    file::Dimension& dim = *type.mutable_shape()->add_dim();
    if (size < 0)
      dim.set_dim_param("N");
    else
      dim.set_dim_value(size);
  }
}

// Types as files number them: of attributes.
struct SetAttribute {
  file::Attribute& to;
  void operator()(float v) const { to.set_f(v), to.set_type(1); }
  void operator()(int64_t v) const { to.set_i(v), to.set_type(2); }
  void operator()(const std::string& v) const { to.set_s(v), to.set_type(3); }
  void operator()(const std::vector<int64_t>& v) const {
    to.mutable_ints()->Assign(v.begin(), v.end()), to.set_type(7);
  }
};

void set(file::Node& to, const OnnxNode& node) {
  to.set_name(node.output);
  to.set_op_type(node.op);
  to.mutable_input()->Assign(node.inputs.begin(), node.inputs.end());
  to.add_output(node.output);
  for (const auto& [name, value] : node.attributes) {
    file::Attribute& attribute = *to.add_attribute();
    attribute.set_name(name);
    std::visit(SetAttribute{attribute}, value);
  }
}

void set(file::Tensor& to, const std::string& name, const StoredTensor& tensor) {
  to.set_name(name);
  to.mutable_dims()->Assign(tensor.shape.begin(), tensor.shape.end());
  to.set_data_type(static_cast<int>(tensor.dtype == "I64" ? OnnxType::i64 : OnnxType::f32));
  to.set_raw_data(tensor.bytes.data(), tensor.bytes.size());
}

}  // namespace

std::string onnx_bytes(const OnnxGraph& graph) {
  file::Model model;
  model.set_ir_version(7);
  model.set_producer_name("firn");
  file::OperatorSet& operators = *model.add_opset_import();
  operators.set_domain("");
  operators.set_version(onnx_opset);
  file::Graph& to = *model.mutable_graph();
  to.set_name(graph.name);
  for (const OnnxValue& value : graph.inputs) set(*to.add_input(), value);
  for (const OnnxValue& value : graph.outputs) set(*to.add_output(), value);
  for (const OnnxNode& node : graph.nodes) set(*to.add_node(), node);
  size_t bytes = model.ByteSizeLong();
  constexpr size_t around = 100;  // a tensor's values
  for (const auto& [name, tensor] : graph.initializers) bytes += tensor.bytes.size() + name.size() + around;
  if (bytes > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    throw IoError(fmt::format("a network of {:.1f} GB does not fit in an ONNX file, which holds 2 GB",
                              static_cast<double>(bytes) / 1e9));
  for (const auto& [name, tensor] : graph.initializers) set(*to.add_initializer(), name, tensor);
  return model.SerializeAsString();
}

void write_onnx(const std::filesystem::path& path, const OnnxGraph& graph) { write_text(path, onnx_bytes(graph)); }

}  // namespace firn
