// StyleGAN2's scale and shift behind the demodulation: they begin where they change nothing, do what they say, and
// train alone.
#include "training/methods/scale_shift.h"

#include <cmath>

#include "tests/training/training_support.h"
#include "training/step/iteration.h"

namespace firn {
namespace {

struct OutputScales : testing::Test {
  Scratch scratch;
  TrainOptions options(DType type) {
    TrainOptions o = tiny_options(write_images(scratch / "data", 8), type);
    o.methods = TrainOptions::of("stylegan2").methods;
    o.init = "source.safetensors";
    o.method_names = {"scale-shift"};
    o.method<ScaleShift>().on = "outputs";
    settle_methods(o, {});
    return o;
  }
};

TEST_F(OutputScales, BeginWithTheSourcesBits) {
  const TrainOptions o = options(DType::f32);
  TrainOptions plain = o;
  model_of(plain).output_scale = false;
  plain.method_names.clear();
  const Subject source(plain), here(o);
  const NoGrad no_grad;
  const Tensor z = Tensor::full({2, 8}, 0.5, DType::f32, Device::cpu());
  const auto image = [&](const Subject& s) { return s.g().forward(z, {}, nullptr).to_floats(); };
  EXPECT_EQ(image(here), image(source));
}

// y = sqrt(2) lrelu(s u + b): from s = 1, b = 0 u is known.
TEST_F(OutputScales, ScaleAndShiftWhatIsDemodulated) {
  const Subject subject(options(DType::f64));
  const StyleGan2Generator& g = subject.g();
  const NoGrad no_grad;
  const auto out = [&] {
    const Taps taps(g, {"b4"});
    g.synthesize(g.broadcast(g.map(Tensor::full({1, 8}, 0.5, DType::f64, Device::cpu()), {})), NoiseMode::none);
    return taps.at("b4").to_doubles();
  };
  const auto set = [&](const char* name, const std::vector<double>& values) {
    Parameter p = *g.parameters().find(name);
    p.value().detach().copy_from(Tensor::from(values, p.value().shape(), DType::f64, Device::cpu()));
  };
  const std::vector<double> before = out(), s = {2, -1, 0.5, 3, 1, 0, 1.5, -2}, b = {0, 1, -1, 0.5, 2, 3, -0.25, 0};
  set("synthesis.b4.conv1.output_scale", s);
  set("synthesis.b4.conv1.bias", b);
  const std::vector<double> after = out();
  for (size_t i = 0; i < after.size(); ++i) {
    const double u = before[i] / std::sqrt(2.0) * (before[i] < 0 ? 5 : 1), v = s[i % 8] * u + b[i % 8];
    EXPECT_NEAR(after[i], std::sqrt(2.0) * (v < 0 ? 0.2 * v : v), 1e-12);
  }
}

TEST_F(OutputScales, HaveTheSlopesOfFiniteDifferences) {
  Subject s(options(DType::f64));
  Inputs in;
  Rng rng{.seed = 9};
  in.put("z", randn({2, 8}, rng, DType::f64, Device::cpu()));
  const std::vector<Tensor> slopes = s.run("Gmain", in).gradients;
  const Parameters trained = s.g().parameters().trainable();
  ASSERT_EQ(trained.size(), 6u);  // of three layers
  for (size_t i = 0; i < trained.size(); ++i) {
    Parameter p = trained[i];
    std::vector<double> values = p.value().to_doubles();
    const double value = values[1], h = 1e-6;
    const auto loss = [&](double v) {
      values[1] = v;
      p.value().detach().copy_from(Tensor::from(values, p.value().shape(), DType::f64, Device::cpu()));
      return s.run("Gmain", in)["loss"].item();
    };
    const double slope = (loss(value + h) - loss(value - h)) / (2 * h);
    loss(value);
    EXPECT_GT(std::abs(slope), 1e-6) << p.name();
    EXPECT_NEAR(slopes[i].to_doubles()[1], slope, 1e-7) << p.name();
  }
}

TEST_F(OutputScales, TrainAloneAndGoOnWithTheSameBits) {
  const TrainOptions o = options(DType::f32);
  TinyRun whole(o, scratch / "whole"), first(o, scratch / "first"), fresh(o, scratch / "fresh");
  whole.iterate(4);
  first.iterate(2);
  TinyRun second(o, scratch / "second", first.save("half.safetensors"));
  second.iterate(2);
  const SafetensorsFile a = read_safetensors(whole.save("a.safetensors")),
                        b = read_safetensors(second.save("b.safetensors"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
  for (const Parameter& p : whole.state.generator().parameters().without_buffers()) {
    const std::string& name = p.name();
    const bool trains = name.ends_with(".output_scale") ||
                        (name.ends_with(".bias") && name.find("conv") != name.npos && name.find("affine") == name.npos);
    EXPECT_EQ(p.value().to_floats() != fresh.state.generator().parameters().find(name)->value().to_floats(), trains)
        << name;
  }
}

}  // namespace
}  // namespace firn
