// All phases of a training iteration on a GPU against the CPU. tests/ptx runs the same on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "models/sngan/sngan.h"
#include "tests/engine/op_check.h"
#include "tests/training/phase_support.h"
#include "training/methods/method.h"

namespace firn {
namespace {

using Values = std::vector<std::vector<double>>;

struct PhaseCase {
  std::string_view model;
  const char* phase;
  std::vector<std::string> methods = {};
};

void PrintTo(const PhaseCase& c, std::ostream* out) { *out << c.model << ' ' << c.phase; }

class DevicePhaseTest : public testing::TestWithParam<PhaseCase> {
 protected:
  void SetUp() override {
    if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  }

  // `channels`: of the network that trains.
  static TrainOptions options(const PhaseCase& c, int channels, DType activations) {
    TrainOptions o = TrainOptions::of(c.model);
    if (c.model == StyleGan2Options::kind)
      o.model = StyleGan2Options{.height = 8,
                                 .z_dim = 8,
                                 .w_dim = 8,
                                 .channel_base = 8 * channels,
                                 .channel_max = channels,
                                 .mapping_layers = 1,
                                 .mbstd_group = 2,
                                 .activation_type = activations};
    else
      o.model = SnganOptions{.height = 32,
                             .c_dim = 2,
                             .z_dim = 8,
                             .ch = channels / (c.phase[0] == 'G' ? 4 : 2),
                             .activation_type = activations};
    o.method_names = c.methods;
    settle_methods(o, {});
    return o;
  }

  // The loss, then every gradient. All parameters and inputs are drawn on the CPU.
  static Values run(const PhaseCase& c, const Device& device, int channels, DType activations = DType::f32) {
    const bool styled = c.model == StyleGan2Options::kind;
    Subject s(options(c, channels, activations), device);
    Rng rng{.seed = 5};
    const auto draw = [&](const Shape& shape, double scale = 1) {
      const Tensor t = randn(shape, rng, DType::f32, Device::cpu()) * scale;
      return Tensor::from(t.to_doubles(), shape, DType::f32, device);
    };
    for (const Role& role : s.state.roles)
      for (Parameter p : role.network->parameters()) {
        const Shape& shape = p.value().shape();  // StyleGAN2 scales its weights itself
        p.value().copy_from(draw(shape, styled || shape.size() < 2 ? 1 : std::sqrt(double(shape[0]) / count(shape))));
      }
    const int64_t n = styled ? 4 : 2, size = s.options.model.images().height;
    Inputs in;
    in.put("z", draw({n, 8}));
    in.put("images", draw({n, size, size, 3}));
    if (styled) {
      in.put("pl_noise", draw({n, size, size, 3}));
      s.state.scalar("pl_mean").copy_from(Tensor::full({1}, 0.5, DType::f32, device));
    } else {
      for (const char* labels : {"labels", "gen_labels"})
        in.put(labels, Tensor::from(std::vector<int32_t>{1, 0}, {n}, device));
    }
    const PhaseResult r = s.run(c.phase, in);
    Values values{r["loss"].to_doubles()};
    for (const Tensor& t : r.gradients) values.push_back(t.to_doubles());
    return values;
  }
};

// Sums in another order differ by f32's rounding, which the second derivatives amplify: R1's to 1.3e-4 on an H100.
TEST_P(DevicePhaseTest, LossAndGradientsMatchCpu) {
  const Values here = run(GetParam(), Device::cpu(), 8), there = run(GetParam(), Device::cuda(), 8);
  ASSERT_EQ(here.size(), there.size());
  double largest = 0;
  for (size_t t = 1; t < here.size(); ++t)
    for (const double v : here[t]) largest = std::max(largest, std::abs(v));
  EXPECT_GT(largest, 0);
  EXPECT_NEAR(there[0][0], here[0][0], 1e-4 * std::abs(here[0][0]));
  for (size_t t = 1; t < here.size(); ++t)
    for (size_t i = 0; i < here[t].size(); ++i) ASSERT_NEAR(there[t][i], here[t][i], 5e-4 * largest) << "tensor " << t;
}

// With channels enough for tensor cores, on which whole layers are single kernels.
TEST_P(DevicePhaseTest, Bf16IsAsNearToF32AsOnCpu) {
  const tests::WithoutLibraries scope;
  const Values exact = run(GetParam(), Device::cpu(), 32);
  const Values here = run(GetParam(), Device::cpu(), 32, DType::bf16);
  const Values there = run(GetParam(), Device::cuda(), 32, DType::bf16);
  const auto distance = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum);
  };
  // A single number may be right by chance, so all of those are compared together, first.
  const auto compared = [](const Values& all) {
    Values tensors(1);
    for (const std::vector<double>& t : all)
      if (t.size() > 1)
        tensors.push_back(t);
      else
        tensors[0].push_back(t[0]);
    return tensors;
  };
  const Values e = compared(exact), h = compared(here), d = compared(there);
  for (size_t t = 0; t < e.size(); ++t) {
    const double size = distance(e[t], std::vector<double>(e[t].size()));
    // There a layer's weights and scaled input are rounded too, which Winograd here leaves as they are, and sums are
    // cut off. Measured: at most 2.8 times as far.
    EXPECT_LE(distance(d[t], e[t]), 4 * distance(h[t], e[t]) + 0.01 * size) << "tensor " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Step, DevicePhaseTest,
                         testing::Values(PhaseCase{"stylegan2", "Gmain"}, PhaseCase{"stylegan2", "Greg"},
                                         PhaseCase{"stylegan2", "Dmain"}, PhaseCase{"stylegan2", "Dreg"},
                                         PhaseCase{"sngan", "Gmain"}, PhaseCase{"sngan", "Dmain"},
                                         PhaseCase{"stylegan2", "Gpatch", {"cdc", "feature-matching"}},
                                         PhaseCase{"stylegan2", "Dpatch", {"cdc"}}),
                         [](const auto& info) {
                           return fmt::format("{}_{}{}", info.param.model, info.param.phase,
                                              info.param.methods.empty() ? "" : "_" + info.param.methods[0]);
                         });

}  // namespace
}  // namespace firn
#endif
