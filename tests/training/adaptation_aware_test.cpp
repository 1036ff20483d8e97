// Adaptation-aware kernel modulation: a network whose weights are modulated is the network of the products, down to its
// gradients; what is kept is modulated, what is not trains, and probing chooses.
#include "training/methods/adaptation_aware.h"

#include "base/error.h"
#include "tests/training/methods_support.h"
#include "training/step/iteration.h"

namespace firn {
namespace {

TrainOptions tiny(std::string_view kind, DType type, bool modulated = true) {
  return tiny(kind, modulated ? std::vector<std::string>{"adaptation-aware"} : std::vector<std::string>{}, type);
}

const char* const roles[] = {"G", "D"};

// Factors as if they had trained.
void modulate(const TrainState& s) {
  Rng rng{.seed = 4};
  for (const char* role : roles)
    for (Parameter p : s.role(role).network->parameters())
      if (p.name().ends_with(".modulate_out"))
        p.value().copy_from(randn(p.value().shape(), rng, p.value().type(), s.device()) * 0.3);
}

struct Networks : testing::TestWithParam<std::string> {};

TEST_P(Networks, BeginWithTheSourcesBits) {
  TrainState source(tiny(GetParam(), DType::f32, false), Device::cpu()),
      here(tiny(GetParam(), DType::f32), Device::cpu());
  const NoGrad no_grad;
  Rng rng;
  const Generator& g = source.generator();
  const Tensor z = randn({2, g.z_dim()}, rng, DType::f32, Device::cpu()), image = g.image(g.code(z, {}));
  EXPECT_EQ(here.generator().image(here.generator().code(z, {})).to_floats(), image.to_floats());
  EXPECT_EQ(here.discriminator()(image).to_floats(), source.discriminator()(image).to_floats());
  modulate(here);
  EXPECT_NE(here.generator().image(here.generator().code(z, {})).to_floats(), image.to_floats());
  EXPECT_NE(here.discriminator()(image).to_floats(), source.discriminator()(image).to_floats());
}

// With W' = W (1 + out x in): dW = dW' (1 + out x in), dout = sum over in of dW' W in, din = sum over out of dW' W out.
TEST_P(Networks, AreThoseOfTheProductsAndSoAreTheirGradients) {
  const TrainOptions o = tiny(GetParam(), DType::f64), plain = tiny(GetParam(), DType::f64, false);
  TrainState s(o, Device::cpu()), product(plain, Device::cpu());
  modulate(s);
  for (const char* role : roles)
    for (Parameter p : product.role(role).network->parameters())
      p.value().detach().copy_from((*s.role(role).network->parameters().find(p.name()))().detach());
  Reals reals_here(o, s), reals_there(plain, product);
  const std::vector<Phase> here = phases_of({.options = o, .state = s, .reals = &reals_here}),
                           there = phases_of({.options = plain, .state = product, .reals = &reals_there});
  for (size_t k = 0; k < here.size(); ++k) {
    for (const auto& feed : here[k].feeds) feed->refresh(s.rng);
    for (const auto& feed : there[k].feeds) feed->refresh(product.rng);
    Rng rng{.seed = 3}, same = rng;
    const PhaseResult a = run_phase(here[k], s, here[k].draw(rng), &rng),
                      b = run_phase(there[k], product, there[k].draw(same), &same);
    EXPECT_NEAR(a["loss"].item(), b["loss"].item(), 1e-10 * std::abs(b["loss"].item())) << here[k].name;
    const Parameters all = s.role(here[k].trains).network->parameters(), trained = all.trainable(),
                     of_product = product.role(here[k].trains).network->parameters().trainable();
    std::map<std::string, std::vector<double>> found, wanted;
    for (size_t i = 0; i < trained.size(); ++i) found[trained[i].name()] = a.gradients[i].to_doubles();
    for (size_t i = 0; i < of_product.size(); ++i) {
      const std::string& name = of_product[i].name();
      std::vector<double> slope = b.gradients[i].to_doubles();
      const std::string layer = name.substr(0, name.rfind('.'));
      if (const Parameter* out = all.find(layer + ".modulate_out"); out && name.ends_with(".weight")) {
        const std::vector<double> w = all.find(name)->value().to_doubles(), m1 = out->value().to_doubles(),
                                  m2 = all.find(layer + ".modulate_in")->value().to_doubles();
        std::vector<double>&d1 = wanted[layer + ".modulate_out"], &d2 = wanted[layer + ".modulate_in"];
        d1.resize(m1.size());
        d2.resize(m2.size());
        for (size_t r = 0; r < w.size(); ++r) {
          const size_t row = r / m2.size(), column = r % m2.size();
          d1[row] += slope[r] * w[r] * m2[column];
          d2[column] += slope[r] * w[r] * m1[row];
          slope[r] *= 1 + m1[row] * m2[column];
        }
      }
      wanted[name] = slope;
    }
    ASSERT_EQ(found.size(), wanted.size());
    double seen = 0;
    for (const auto& [name, want] : wanted) {
      double largest = 1e-8;
      for (const double v : want) largest = std::max(largest, std::abs(v));
      if (name.ends_with("modulate_out")) seen = std::max(seen, largest);
      ASSERT_EQ(found.at(name).size(), want.size()) << name;
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(found.at(name)[i], want[i], 1e-8 * largest) << here[k].name << " " << name;
    }
    EXPECT_GT(seen, 1e-6) << here[k].name;
  }
}

// Of a layer of each network one filter is kept.
TEST_P(Networks, ModulateWhatIsKeptAndTrainTheRest) {
  TrainOptions o = tiny(GetParam(), DType::f32);
  const std::string g = GetParam() == "sngan" ? "block2.c1" : "synthesis.b16.conv1",
                    d = GetParam() == "sngan" ? "block1.c1" : "b16.conv0";
  o.method<AdaptationAware>().kept = {"G:" + g + ":1", "D:" + d + ":0"};
  TrainState s(o, Device::cpu());
  const auto values = [&](const char* role, const std::string& name) {
    return s.role(role).network->parameters().find(name)->value().to_floats();
  };
  std::map<std::string, std::vector<float>> before;
  for (const char* role : roles)
    for (const Parameter& p : s.role(role).network->parameters()) before[role + p.name()] = p.value().to_floats();
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  for (int i = 0; i < 2; ++i) iteration.run();
  for (const char* role : roles) {
    const std::string layer = *role == 'G' ? g : d;
    const size_t kept = *role == 'G' ? 1 : 0;
    for (const Parameter& p : s.role(role).network->parameters()) {
      const std::string& name = p.name();
      const std::vector<float>&was = before.at(role + name), is = values(role, name);
      if (name == layer + ".weight" || name == layer + ".modulate_out") {
        const size_t rows = size_t(p.value().dim(0)), row = was.size() / rows;
        for (size_t r = 0; r < rows; ++r) {
          const auto at = std::ptrdiff_t(r * row);
          const bool same = std::equal(was.begin() + at, was.begin() + at + std::ptrdiff_t(row), is.begin() + at);
          EXPECT_EQ(same, name.ends_with(".weight") == (r == kept)) << role << name << " " << r;
        }
      } else if (p.addition()) {
        EXPECT_EQ(was == is, name != layer + ".modulate_in") << role << name;
      } else if (name.ends_with(".weight")) {
        EXPECT_NE(was, is) << role << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Networks, testing::Values("stylegan2", "sngan"), [](const auto& i) { return i.param; });

TEST(AdaptationAware, SigmaOfALayerThatIsOnlyModulatedFollows) {
  TrainOptions o = tiny("sngan", DType::f64);
  o.method<AdaptationAware>().kept = {"G:block2.c1:0", "D:block1.c1:0-1", "D:block1.c2:0"};
  TrainState s(o, Device::cpu());
  Discriminator& d = s.discriminator();
  ASSERT_TRUE(d.parameters().find("block1.c1.weight")->frozen());
  d.settle();
  const NoGrad no_grad;
  Rng rng;
  const Tensor x = randn({2, 32, 32, 3}, rng, DType::f64, Device::cpu());
  Parameter out = *d.parameters().find("block1.c1.modulate_out");
  Parameter in = *d.parameters().find("block1.c1.modulate_in");
  in.value().detach().copy_from(Tensor::full(in.value().shape(), 1, DType::f64, Device::cpu()));
  for (int i = 0; i < 100; ++i) d(x);
  const double before = d(x).to_doubles()[0];
  out.value().detach().copy_from(Tensor::full(out.value().shape(), 1, DType::f64, Device::cpu()));
  for (int i = 0; i < 100; ++i) d(x);  // twice the weights have twice the sigma
  EXPECT_NEAR(d(x).to_doubles()[0], before, 1e-8);
}

TEST(AdaptationAware, FactorsFitTheWeights) {
  const auto zeros = [](Shape shape) {
    return Parameter("p", Tensor::zeros(std::move(shape), DType::f32, Device::cpu()));
  };
  Parameter w = zeros({3, 2, 2, 4});
  w.modulate(zeros({3}), zeros({1, 2, 2, 4}));
  EXPECT_TRUE(w.modulated());
  EXPECT_MENTIONS(message_of<ShapeError>([&] {
                    w.modulate(zeros({2}), zeros({1, 2, 2, 4}));
                  }),
                  "modulation of [3,2,2,4] by [2] and [1,2,2,4]; expected [3] and [1,2,2,4]");
}

TEST(AdaptationAware, TheMostInformativeAreBeyondTheQuantile) {
  const std::vector<double> information = {5, 1, 4, 4, 0, 9};
  EXPECT_EQ(most_informative(information, 50), (std::vector<size_t>{0, 2, 5}));
  EXPECT_EQ(most_informative(information, 100), (std::vector<size_t>{5}));
  EXPECT_EQ(most_informative(information, 0).size(), 6u);
  EXPECT_TRUE(most_informative({}, 50).empty());
}

struct Probing : testing::Test {
  Scratch scratch;
  TrainOptions options(double kimg) {
    TrainOptions o = tiny_options(write_images(scratch / "data", 8));
    o.methods = TrainOptions::of("stylegan2").methods;
    o.init = "source.safetensors";
    o.method_names = {"adaptation-aware"};
    o.freeze.fisher_batches = 2;
    o.method<AdaptationAware>().probe_kimg = kimg;
    settle_methods(o, {});
    return o;
  }
  std::vector<std::string> chosen(const TrainOptions& o) {
    TinyRun run(o, scratch / "run");
    choose_by_methods(run.state, run.options, run.data);
    return run.options.method<AdaptationAware>().kept;
  }
};

TEST_F(Probing, ChoosesHalfOfEachNetworkAndLeavesTheSourceAsItIs) {
  TrainOptions o = options(0.02);
  TinyRun run(o, scratch / "run"), untouched(o, scratch / "untouched");
  choose_by_methods(run.state, run.options, run.data);
  EXPECT_EQ(run.state.counters, untouched.state.counters);
  EXPECT_EQ(run.state.rng.offset, untouched.state.rng.offset);
  for (const char* role : roles) {
    int64_t kept = 0, filters = 0;
    for (const Parameter& p : run.state.role(role).network->parameters()) {
      EXPECT_EQ(p.value().to_floats(),
                untouched.state.role(role).network->parameters().find(p.name())->value().to_floats());
      if (!p.name().ends_with(".modulate_out")) continue;
      const std::string layer = p.name().substr(0, p.name().rfind('.'));
      const Parameter& w = *run.state.role(role).network->parameters().find(layer + ".weight");
      EXPECT_EQ(p.trains() + w.trains() / (w.count() / p.count()), p.count()) << layer;  // each filter is in one place
      kept += p.trains();
      filters += p.count();
    }
    EXPECT_EQ(kept, std::lround(0.5 * double(filters))) << role;
  }
  const std::vector<std::string> kept = run.options.method<AdaptationAware>().kept;
  EXPECT_EQ(kept, chosen(o));
  o.method<AdaptationAware>().quantile = 90;
  EXPECT_NE(kept, chosen(o));
  run.iterate(2);
}

TEST_F(Probing, KeepsWhatOtherOptionsFreezeOutOfIt) {
  TrainOptions o = options(0);
  o.freeze.blocks = 1;
  TinyRun run(o, scratch / "run");
  choose_by_methods(run.state, run.options, run.data);
  EXPECT_EQ(run.state.discriminator().parameters()("b8.*").trains(), 0);
  for (const std::string& kept : run.options.method<AdaptationAware>().kept)
    EXPECT_FALSE(kept.starts_with("D:b8.")) << kept;
}

TEST_F(Probing, GoesOnWithTheSameBits) {
  const TrainOptions o = options(0);
  TinyRun whole(o, scratch / "whole"), first(o, scratch / "first");
  choose_by_methods(whole.state, whole.options, whole.data);
  choose_by_methods(first.state, first.options, first.data);
  whole.iterate(4);
  first.iterate(2);
  const SafetensorsFile half = read_safetensors(first.save("half.safetensors"));
  TinyRun second(first.options, scratch / "second", first.dir / "half.safetensors");
  second.iterate(2);
  EXPECT_EQ(snapshot_options(half).method<AdaptationAware>().kept, first.options.method<AdaptationAware>().kept);
  const SafetensorsFile a = read_safetensors(whole.save("a.safetensors")),
                        b = read_safetensors(second.save("b.safetensors"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  EXPECT_TRUE(a.contains("G_ema.synthesis.b8.conv0.modulate_out"));
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

TEST(AdaptationAware, NeedsASourceAndADiscriminator) {
  TrainOptions o = tiny("stylegan2", DType::f32);
  o.method_names.push_back("glo");
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "glo has no D");
  o.method_names.pop_back();
  o.init.clear();
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "give --init FILE");
}

}  // namespace
}  // namespace firn
