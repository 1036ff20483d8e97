#include "io/onnx.h"

#include <gtest/gtest.h>

#include "io/onnx.pb.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

const float weights[] = {1, 2, 3, 4, 5, 6};
const int64_t sizes[] = {-1, 3};

OnnxGraph small_graph() {
  return {.name = "small",
          .inputs = {{"x", OnnxType::f32, {-1, 2}}, {"k", OnnxType::f32, {}}},
          .outputs = {{"y", OnnxType::u8, {-1, 3}}},
          .nodes = {{"Gemm", {"x", "w"}, "a", {{"transB", int64_t{1}}, {"alpha", 0.5f}}},
                    {"Reshape", {"a", "to"}, "b"},
                    {"Cast",
                     {"b"},
                     "y",
                     {{"to", int64_t{2}}, {"pads", std::vector<int64_t>{0, 1}}, {"mode", std::string("m")}}}},
          .initializers = {{"w", StoredTensor::of(std::span(weights), {3, 2})},
                           {"to", StoredTensor::of(std::span(sizes), {2})}}};
}

TEST(OnnxFile, HoldsWhatTheGraphSays) {
  proto::onnx::Model model;
  ASSERT_TRUE(model.ParseFromString(onnx_bytes(small_graph())));
  EXPECT_EQ(model.ir_version(), 7);
  ASSERT_EQ(model.opset_import_size(), 1);
  EXPECT_LE(model.opset_import(0).version(), 17);
  const proto::onnx::Graph& g = model.graph();
  ASSERT_EQ(g.node_size(), 3);
  EXPECT_EQ(g.node(0).op_type(), "Gemm");
  EXPECT_EQ(g.node(0).input(1), "w");
  EXPECT_EQ(g.node(0).attribute(0).name(), "transB");
  EXPECT_EQ(g.node(0).attribute(0).i(), 1);
  EXPECT_EQ(g.node(0).attribute(0).type(), 2);
  EXPECT_EQ(g.node(0).attribute(1).f(), 0.5f);
  EXPECT_EQ(g.node(0).attribute(1).type(), 1);
  EXPECT_EQ(g.node(2).attribute(1).ints(1), 1);
  EXPECT_EQ(g.node(2).attribute(1).type(), 7);
  EXPECT_EQ(g.node(2).attribute(2).s(), "m");
  EXPECT_EQ(g.node(2).attribute(2).type(), 3);
  EXPECT_EQ(g.initializer(0).data_type(), 1);
  EXPECT_EQ(g.initializer(0).dims(0), 3);
  EXPECT_EQ(g.initializer(0).raw_data(), std::string(reinterpret_cast<const char*>(weights), sizeof weights));
  EXPECT_EQ(g.initializer(1).data_type(), 7);
}

TEST(OnnxFile, TheBatchHasANameAndAScalarNoAxis) {
  proto::onnx::Model model;
  ASSERT_TRUE(model.ParseFromString(onnx_bytes(small_graph())));
  const auto& x = model.graph().input(0).type().tensor_type();
  EXPECT_EQ(x.elem_type(), 1);
  EXPECT_EQ(x.shape().dim(0).dim_param(), "N");
  EXPECT_EQ(x.shape().dim(1).dim_value(), 2);
  const auto& k = model.graph().input(1).type().tensor_type();
  EXPECT_TRUE(k.has_shape());
  EXPECT_EQ(k.shape().dim_size(), 0);
  EXPECT_EQ(model.graph().output(0).type().tensor_type().elem_type(), 2);
}

TEST(OnnxFile, WhereNothingCanBeWrittenNothingIs) {
  const Scratch scratch;
  EXPECT_THROW(write_onnx(scratch / "none/g.onnx", small_graph()), IoError);
  write_onnx(scratch / "g.onnx", small_graph());
  EXPECT_EQ(read_bytes(scratch / "g.onnx").size(), onnx_bytes(small_graph()).size());
}

}  // namespace
}  // namespace firn
