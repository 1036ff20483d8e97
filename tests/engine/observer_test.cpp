#include "engine/observer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/ops.h"

namespace firn {
namespace {

struct Names : Observer {
  void saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor&) override {
    all.emplace_back(op.name);
    last_inputs = inputs;
    if (all.back() == "conv2d") conv = op.as<Conv2d>();
  }
  std::vector<std::string> all;
  std::vector<Tensor> last_inputs;
  Conv2d conv;
};

Tensor normal(Shape shape, uint64_t seed) {
  Rng rng{.seed = seed};
  return randn(std::move(shape), rng, DType::f32, Device::cpu());
}

struct Layer {
  Tensor x = normal({2, 4, 4, 8}, 1), s = normal({2, 8}, 2), w = normal({16, 3, 3, 8}, 3), b = normal({16}, 4);
  Tensor operator()() const {
    const NoGrad no_grad;
    const Fir blur{.pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1, .gain = 4};
    return styled_conv2d_up(x, s, w, b, {.stride = 2, .transposed = true}, blur, lrelu());
  }
};

TEST(Observer, SeesThePartsOfAFusedOpWithTheirOptions) {
  Names names;
  const Layer layer;
  const Watch watch(&names);
  layer();
  EXPECT_EQ(names.all, (std::vector<std::string>{"scale_channels", "conv2d", "upfirdn2d", "bias_act"}));
  EXPECT_TRUE(names.conv.transposed);
  EXPECT_EQ(names.conv.stride, 2);
  EXPECT_EQ(names.last_inputs[2].identity().lock(), layer.b.identity().lock());
}

TEST(Observer, WhatIsSeenIsWhatWouldBeThereAnyway) {
  Names names;
  const Layer layer;
  const std::vector<float> alone = layer().to_floats();
  const Watch watch(&names);
  const std::vector<float> watched = layer().to_floats();
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(alone[i], watched[i], 1e-4);
}

TEST(Observer, SeesNothingBeforeAndAfter) {
  Names names, inner;
  const Tensor x = normal({2, 3}, 1);
  square(x);
  {
    const Watch watch(&names);
    square(x);
    {
      const Watch nobody(nullptr);
      EXPECT_FALSE(observed());
      abs(x);
    }
    {
      const Watch watch_inner(&inner);
      exp(x);
    }
    tanh(x);
  }
  square(x);
  EXPECT_EQ(names.all, (std::vector<std::string>{"square", "tanh"}));
  EXPECT_EQ(inner.all, (std::vector<std::string>{"exp"}));
}

TEST(Observer, OptionsOfAnotherTypeAreAnError) {
  struct Wrong : Observer {
    void saw(const Op& op, const std::vector<Tensor>&, const Tensor&) override { op.as<Conv2d>(); }
  } wrong;
  const Tensor x = normal({2, 3}, 1);
  const Watch watch(&wrong);
  EXPECT_THROW(affine(x, 2, 1), Error);
}

TEST(Observer, ViewsShareAnIdentityThatOthersNeverHave) {
  std::weak_ptr<const void> gone;
  {
    const Tensor x = normal({2, 3}, 1);
    EXPECT_FALSE(x.identity().owner_before(x.view({6}).identity()) ||
                 x.view({6}).identity().owner_before(x.identity()));
    gone = x.identity();
  }
  const Tensor y = normal({2, 3}, 1);  // perhaps where x was
  EXPECT_TRUE(gone.owner_before(y.identity()) || y.identity().owner_before(gone));
}

}  // namespace
}  // namespace firn
