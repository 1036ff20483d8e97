// Operands that no op can take: each op, each of its operands, with axes too few and too many, of integers, and none.
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "engine/ops.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

using In = std::vector<Tensor>;

struct Fit {
  const char* op;
  std::vector<Shape> shapes;  // that it takes
  std::function<Tensor(const In&)> fn;
};

void PrintTo(const Fit& f, std::ostream* out) { *out << f.op; }

BiasAct noisy(const In& in, size_t d) {
  BiasAct p = lrelu();
  p.d = in[d], p.noise = in[d + 1], p.strength = in[d + 2];
  return p;
}

const Fit kFits[] = {
    {"sum_per_sample", {{2, 3}}, [](const In& in) { return sum_per_sample(in[0]); }},
    {"mean_axes", {{2, 3}}, [](const In& in) { return mean_axes(in[0], {1}); }},
    {"scale_channels", {{2, 3, 4}, {2, 4}}, [](const In& in) { return scale_channels(in[0], in[1]); }},
    {"dot_pixels", {{2, 3, 4}, {2, 3, 4}}, [](const In& in) { return dot_pixels(in[0], in[1]); }},
    {"matmul", {{2, 3}, {3, 4}}, [](const In& in) { return matmul(in[0], in[1]); }},
    {"conv2d", {{1, 4, 4, 2}, {3, 3, 3, 2}}, [](const In& in) { return conv2d(in[0], in[1]); }},
    {"conv2d_input_grad",
     {{1, 2, 2, 3}, {3, 3, 3, 2}},
     [](const In& in) {
       return conv2d_input_grad(in[0], in[1], {1, 4, 4, 2}, {});
     }},
    {"conv2d_weight_grad",
     {{1, 4, 4, 2}, {1, 2, 2, 3}},
     [](const In& in) {
       return conv2d_weight_grad(in[0], in[1], {3, 3, 3, 2}, {});
     }},
    {"upfirdn2d", {{1, 4, 4, 2}}, [](const In& in) { return upsample2d(in[0]); }},
    {"bias_act",
     {{2, 3, 3, 4}, {4}, {2, 4}, {1, 3, 3}, {}},
     [](const In& in) { return bias_act(in[0], in[1], noisy(in, 2)); }},
    {"bias_act_grad", {{2, 4}, {2, 4}}, [](const In& in) { return bias_act_grad(in[0], in[1], 0.2, 1, -1); }},
    {"upfirdn2d_bias_act",
     {{2, 4, 4, 4}, {4}},
     [](const In& in) { return upfirdn2d_bias_act(in[0], {}, in[1], lrelu()); }},
    {"styled_conv2d",
     {{2, 4, 4, 4}, {2, 4}, {3, 3, 3, 4}, {3}},
     [](const In& in) { return styled_conv2d(in[0], in[1], in[2], in[3], {.pad = 1}, lrelu()); }},
    {"styled_conv2d_pointwise",
     {{2, 4, 4, 3}, {5, 1, 1, 3}, {5}},
     [](const In& in) { return styled_conv2d(in[0], {}, in[1], in[2], {}, lrelu()); }},
    {"styled_conv2d_up",
     {{2, 4, 4, 4}, {2, 4}, {3, 3, 3, 4}, {3}},
     [](const In& in) {
       return styled_conv2d_up(in[0], in[1], in[2], in[3], {.stride = 2, .transposed = true}, {}, lrelu());
     }},
    {"conv2d_down",
     {{2, 8, 8, 4}, {3, 3, 3, 4}, {3}},
     [](const In& in) { return conv2d_down(in[0], in[1], in[2], {}, {.stride = 2}, lrelu()); }},
    {"conv2d_add",
     {{2, 4, 4, 4}, {3, 1, 1, 4}, {2, 4, 4, 3}},
     [](const In& in) { return conv2d_add(in[0], in[1], {}, in[2]); }},
    {"permute",
     {{2, 3}},
     [](const In& in) {
       return permute(square(in[0]), {1, 0});
     }},
    {"slice", {{2, 3}}, [](const In& in) { return slice(square(in[0]), 1, 1, 3); }},
    {"concat",
     {{2, 3}, {2, 2}},
     [](const In& in) {
       return concat({square(in[0]), square(in[1])}, 1);
     }},
    {"normalize_2nd_moment", {{2, 3}}, [](const In& in) { return normalize_2nd_moment(in[0]); }},
    {"demodulation", {{3, 1, 1, 4}, {2, 4}}, [](const In& in) { return demodulation(in[0], in[1]); }},
    {"minibatch_stddev", {{4, 2, 2, 2}}, [](const In& in) { return minibatch_stddev(in[0], 2, 1); }},
    {"layer_norm", {{2, 3}, {3}, {3}}, [](const In& in) { return layer_norm(in[0], in[1], in[2]); }},
    {"softmax", {{2, 3}}, [](const In& in) { return softmax(in[0]); }},
    {"attention", {{2, 3, 4}, {2, 5, 4}, {2, 5, 4}}, [](const In& in) { return attention(in[0], in[1], in[2], 2); }},
    {"resize", {{2, 3, 4, 1}}, [](const In& in) { return resize(in[0], 2, 5, Resize::bicubic); }},
    {"gather",
     {{4, 2}},
     [](const In& in) { return gather(square(in[0]), Tensor::from(std::vector<int32_t>{3}, {1}, Device::cpu())); }},
};

// Those that take it, too, with an axis more.
bool takes(const Fit& f, size_t operand, const Shape& shape) {
  const std::string op = f.op;
  if (op == "sum_per_sample" || op == "mean_axes" || op == "slice" || op == "gather" || op == "softmax")
    return !shape.empty();
  if (op == "layer_norm" && operand == 0) return !shape.empty() && shape.back() == 3;
  if (op == "conv2d_add" && operand == 2) return shape.empty();  // it is broadcast
  return operand == 4 && op == "bias_act" && count(shape) == 1;  // the strength is any one number
}

class OpShapes : public testing::TestWithParam<Fit> {
 protected:
  static In operands() {
    In in;
    for (const Shape& s : GetParam().shapes) in.push_back(Tensor::full(s, 0.5, DType::f32, Device::cpu()));
    return in;
  }
  // What the op says when one operand is another.
  static std::string said(size_t operand, const Tensor& other) {
    In in = operands();
    in[operand] = other;
    return message_of<ShapeError>([&] { GetParam().fn(in); });
  }
};

TEST_P(OpShapes, ThatFitAreTaken) { EXPECT_NO_THROW(GetParam().fn(operands())); }

TEST_P(OpShapes, OfOtherRanksAreErrors) {
  const Fit& f = GetParam();
  for (size_t i = 0; i < f.shapes.size(); ++i)
    for (size_t rank = 0; rank < 7; ++rank) {
      if (rank == f.shapes[i].size()) continue;
      Shape other = f.shapes[i];
      other.resize(rank, 1);
      if (!takes(f, i, other)) {
        EXPECT_NE(said(i, Tensor::full(other, 0.5, DType::f32, Device::cpu())), "no error")
            << i << ' ' << to_string(other);
      }
    }
}

TEST_P(OpShapes, OfIntegersAreErrors) {
  const Fit& f = GetParam();
  for (size_t i = 0; i < f.shapes.size(); ++i)
    for (const DType type : {DType::i32, DType::i64})
      EXPECT_NE(said(i, Tensor::full(f.shapes[i], 1, type, Device::cpu())), "no error") << i;
}

TEST_P(OpShapes, WithoutValuesAreErrors) { EXPECT_NE(said(0, {}), "no error"); }

INSTANTIATE_TEST_SUITE_P(Ops, OpShapes, testing::ValuesIn(kFits),
                         [](const auto& info) { return std::string(info.param.op); });

TEST(OpShapes, OptionsThatMakeNoSenseAreErrors) {
  const Tensor x = Tensor::zeros({4, 4, 4, 2}, DType::f32, Device::cpu());
  const Tensor w = Tensor::zeros({3, 3, 3, 2}, DType::f32, Device::cpu());
  const Tensor q = Tensor::zeros({2, 4, 4}, DType::f32, Device::cpu());
  const Tensor biases = Tensor::zeros({3, 2, 4, 4}, DType::f32, Device::cpu()), bias = slice(biases, 0, 0, 1);
  const std::function<void()> wrong[] = {[&] { conv2d(x, w, {.stride = 0}); },
                                         [&] { conv2d(x, w, {.pad = -1}); },
                                         [&] { conv2d(x, w, {.groups = 0}); },
                                         [&] { conv2d(x, w, {.groups = 2}); },
                                         [&] { conv2d(x, slice(w, 3, 0, 1), {.groups = 2}); },
                                         [&] { conv2d(slice(x, 1, 0, 2), w, {.stride = 2}); },
                                         [&] { conv2d(slice(x, 2, 0, 2), w, {.stride = 2}); },
                                         [&] {
                                           conv2d_weight_grad(x, x, {2, 3, 1, 2}, {.pad = 1});
                                         },
                                         [&] { upfirdn2d(slice(x, 1, 0, 2), {.down = 4}); },
                                         [&] { upfirdn2d(x, {.up = 0}); },
                                         [&] { upfirdn2d(x, {.down = 0}); },
                                         [&] { minibatch_stddev(x, 0, 1); },
                                         [&] { minibatch_stddev(x, 2, 0); },
                                         [&] { minibatch_stddev(x, 2, 1, 0); },
                                         [&] { resize(x, 0, 4, Resize::area); },
                                         [&] { resize(x, 4, 4, Resize::bicubic, -1); },
                                         [&] { attention(q, q, q, 3); },
                                         [&] { attention(q, slice(q, 1, 0, 2), q, 2); },
                                         [&] { attention(q, cast(q, DType::bf16), q, 2); },
                                         [&] { attention(q, q, q, 2, biases); },
                                         [&] { attention(q, q, q, 4, bias); },
                                         [&] { attention(q, q, q, 2, slice(bias, 3, 0, 3)); },
                                         [&] { attention(q, q, q, 2, cast(bias, DType::f64)); },
                                         [&] { attention(q, q, q, 2, bias.require_grad()); },
                                         [&] { mean_axes(x, {4}); },
                                         [&] { mean_axes(x, {-1}); },
                                         [&] {
                                           reshape(x, {-1, -1});
                                         },
                                         [&] {
                                           reshape(x, {-2, 64});
                                         },
                                         [&] {
                                           Tensor::empty({-1, 2}, DType::f32, Device::cpu());
                                         },
                                         [&] {
                                           permute(x, {0, 1, 2, -1});
                                         },
                                         [&] { slice(x, 7, 0, 1); },
                                         [&] { embed(x, -9, 0, 9); },
                                         [&] {
                                           concat({x, x}, 4);
                                         }};
  for (size_t i = 0; i < std::size(wrong); ++i) EXPECT_THROW(wrong[i](), ShapeError) << i;
}

TEST(Tensors, ReadNothingThatIsNotThere) {
  const Tensor x = Tensor::zeros({2, 3}, DType::f32, Device::cpu()), none;
  EXPECT_EQ(x.dim(-1), 3);
  EXPECT_EQ(message_of<ShapeError>([&] { x.dim(2); }), "a tensor [2,3] has no axis 2");
  EXPECT_THROW(x.dim(-3), ShapeError);
  EXPECT_THROW(none.dim(0), ShapeError);
  EXPECT_EQ(message_of<ShapeError>([&] { x.as<double>(); }), "expected f64, got f32");
  EXPECT_THROW(x.as<bf16>(), ShapeError);
  EXPECT_THROW(none.data(), ShapeError);
  EXPECT_THROW(Tensor::without_storage({2}, DType::f32, Device::cpu()).as<float>(), ShapeError);
}

}  // namespace
}  // namespace firn
