// Methods of adapting a network: what trains, what does not move by a bit, and their gradients against formulas, finite
// differences and tests/golden/methods.py.
#include "training/methods/method.h"

#include "base/error.h"
#include "models/layers/latent_table.h"
#include "models/layers/miner.h"
#include "tests/training/methods_support.h"
#include "training/methods/distill.h"
#include "training/methods/ewc.h"
#include "training/methods/glo.h"
#include "training/methods/l2_sp.h"
#include "training/methods/minegan.h"
#include "training/methods/source.h"
#include "training/step/iteration.h"
#include "training/step/reals.h"

namespace firn {
namespace {

struct Case {
  std::string kind, methods;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.kind << " " << c.methods; }

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, '+');) parts.push_back(part);
  return parts;
}

struct Methods : testing::TestWithParam<Case> {};

TEST_P(Methods, TrainForTwentyIterationsWhatTheTableSaysAndNothingElse) {
  const WeightsFolder weights;
  TrainOptions o = tiny(GetParam().kind, split(GetParam().methods));
  o.method<MineGan>().steps = 5;
  o.method<Ewc>().samples = 2;
  TrainState s(o, Device::cpu());
  begin_methods(s, o);
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  const auto before = values_of(s);
  for (int i = 0; i < 20; ++i) iteration.run();
  const std::set<std::string> changed = moved(before, s);
  bool d_trains = false;
  for (const Phase& phase : iteration.phases()) d_trains |= phase.trains == "D";
  for (const Role& role : s.roles)
    for (const Parameter& p : role.network->parameters()) {
      if (p.buffer()) continue;
      const std::string name = role.name + "." + p.name();
      if (p.frozen() || !role.adam || (role.name == "D" && !d_trains)) {
        EXPECT_FALSE(changed.contains(name)) << name;
      } else if (!name.ends_with(".bias") && !name.ends_with("noise_strength")) {  // some only get rounding, or none
        EXPECT_TRUE(changed.contains(name)) << name;
      }
    }
  for (const Role& role : s.roles) EXPECT_TRUE(all_finite(role.network->parameters())) << role.name;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* kind : {"stylegan2", "sngan", "stylegan"}) {
    for (const Method& m : methods()) all.push_back({kind, m.name});
    for (const char* both :
         {"scale-shift+glo", "minegan+glo", "freeze-d+l2-sp", "freeze-g+ewc", "freeze-g+feature-matching"})
      all.push_back({kind, both});
  }
  std::erase_if(all, [](const Case& c) { return c.methods == "freeze"; });  // it names nothing by itself
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, Methods, testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = info.param.kind + "_" + info.param.methods;
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(c); }, '_');
  return name;
});

TEST(MethodsOfTransfer, L2SpAddsTheMeanSquareOfEachTensorsDistance) {
  Pair pair("l2-sp", [](TrainOptions& o) { o.method<L2Sp>().weight = 3; });
  for (const char* phase : {"Gmain", "Dmain"}) {
    const auto [plain, held] = pair.run(phase);
    Subject& s = *pair.subjects[1];
    const Parameters now = s.trained_by(phase).trainable();
    const Parameters& then = s.state.role(s.phase(phase).trains + "_source").network->parameters();
    double distance = 0;
    for (size_t i = 0; i < now.size(); ++i) {
      const auto w = now[i].value().to_doubles(), w0 = then.find(now[i].name())->value().to_doubles(),
                 g = plain.gradients[i].to_doubles(), with = held.gradients[i].to_doubles();
      for (size_t k = 0; k < w.size(); ++k) {
        distance += (w[k] - w0[k]) * (w[k] - w0[k]) / double(w.size());
        EXPECT_NEAR(with[k], g[k] + 3 * 2 * (w[k] - w0[k]) / double(w.size()), 1e-12) << now[i].name();
      }
    }
    EXPECT_GT(distance, 0.1);
    EXPECT_NEAR(loss(held), loss(plain) + 3 * distance, 1e-10);
    EXPECT_NEAR(held["l2_sp"].to_doubles()[0], 3 * distance, 1e-10);
    EXPECT_EQ(std::ranges::find(held.report, "l2_sp", &Term::name)->stat,
              fmt::format("Loss/{}/l2_sp", s.phase(phase).trains));
  }
}

TEST(MethodsOfTransfer, FisherInformationIsTheMeanSquareOfSlopesOfSingleSamples) {
  const TrainOptions o = tiny("stylegan2", {}, DType::f64);
  Subject s(o);
  const std::shared_ptr<Generator> fisher = make_generator(o.model, Device::cpu());
  constexpr int samples = 3;
  estimate_fisher(s.g(), s.d(), *fisher, samples, 5);
  const auto loss_of_sample = [&](int index) {
    const NoGrad no_grad;
    Rng rng{.seed = 5};
    Tensor z;
    for (int i = 0; i <= index; ++i) z = randn({1, 8}, rng, DType::f64, Device::cpu());
    const Generator& g = s.g();
    return sum(softplus(-s.d()(g.image(g.code(z, {}))))).to_doubles()[0];
  };
  for (const char* name : {"mapping.fc0.weight", "synthesis.b4.conv1.weight", "synthesis.b16.torgb.affine.bias"}) {
    Parameter p = *s.g().parameters().find(name);
    std::vector<double> w = p.value().to_doubles();
    const double value = w[1], h = 1e-5, found = fisher->parameters().find(name)->value().to_doubles()[1];
    double expected = 0;
    for (int i = 0; i < samples; ++i) {
      const auto at = [&](double v) {
        w[1] = v;
        p.value().detach().copy_from(Tensor::from(w, p.value().shape(), DType::f64, Device::cpu()));
        return loss_of_sample(i);
      };
      const double slope = (at(value + h) - at(value - h)) / (2 * h);
      at(value);
      expected += slope * slope / samples;
    }
    EXPECT_GT(expected, 0) << name;
    EXPECT_NEAR(found, expected, 1e-6 * expected) << name;
  }
}

TEST(MethodsOfTransfer, EwcWeighsTheDistanceByFisherInformation) {
  Pair pair("ewc", [](TrainOptions& o) { o.method<Ewc>() = {.weight = 50, .samples = 2}; });
  const auto [plain, held] = pair.run("Gmain");
  Subject& s = *pair.subjects[1];
  const Parameters now = s.trained_by("Gmain").trainable();
  const Parameters &then = s.state.role("G_source").network->parameters(),
                   &fisher = s.state.role("G_fisher").network->parameters();
  double penalty = 0, largest = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    const auto w = now[i].value().to_doubles(), w0 = then.find(now[i].name())->value().to_doubles(),
               f = fisher.find(now[i].name())->value().to_doubles(), g = plain.gradients[i].to_doubles(),
               with = held.gradients[i].to_doubles();
    for (size_t k = 0; k < w.size(); ++k) {
      penalty += 50 * f[k] * (w[k] - w0[k]) * (w[k] - w0[k]);
      const double added = 50 * f[k] * 2 * (w[k] - w0[k]);
      largest = std::max(largest, std::abs(added));
      EXPECT_NEAR(with[k], g[k] + added, 1e-11) << now[i].name();
    }
  }
  EXPECT_GT(largest, 1e-4);
  EXPECT_NEAR(loss(held), loss(plain) + penalty, 1e-10);
}

TEST(MethodsOfTransfer, DistillationComparesActivationsOfTheRealsAlone) {
  Pair pair("distill", [](TrainOptions& o) { o.method<Distill>() = {.weight = 2, .at = {"b16", "b8"}}; });
  const auto [plain, held] = pair.run("Dmain");
  Subject& s = *pair.subjects[1];
  const Tensor reals = pair.inputs()["images"];
  const auto distance = [&] {
    const NoGrad no_grad;
    const Taps now(s.d(), {"b16", "b8"}), then(source_discriminator(s.state), {"b16", "b8"});
    s.d()(reals);
    source_discriminator(s.state)(reals);
    double total = 0;
    for (const char* name : {"b16", "b8"}) {
      const auto a = now.at(name).to_doubles(), b = then.at(name).to_doubles();
      for (size_t i = 0; i < a.size(); ++i) total += (a[i] - b[i]) * (a[i] - b[i]) / double(a.size());
    }
    return total;
  };
  EXPECT_GT(distance(), 1e-3);
  EXPECT_NEAR(loss(held), loss(plain) + 2 * distance(), 1e-10);
  const Parameters trained = s.trained_by("Dmain").trainable();
  for (const char* name : {"b16.fromrgb.weight", "b16.conv1.weight", "b8.conv0.bias", "b4.fc.weight"}) {
    size_t at = 0;
    while (trained[at].name() != name) ++at;
    const double slope = slope_by_differences(trained[at], 0, distance);
    EXPECT_NEAR(held.gradients[at].to_doubles()[0], plain.gradients[at].to_doubles()[0] + 2 * slope, 1e-7) << name;
  }
}

TEST(MethodsOfTransfer, LossesOfGloAreThoseOfPyTorch) {
  for (const auto& [name, key] : {std::pair{"vgg16", "vgg16/16"}, {"squeezenet", "squeezenet/8"}}) {
    const auto network = formula_network(key, {.type = DType::f64});
    const auto picture = [](const char* name) { return formula_images(name, 2, 32, DType::f64, 1, 0); };
    const Tensor fakes = picture("fakes").require_grad();
    const Tensor loss = reconstruction_loss(*network, picture("reals"), fakes, 0.1);
    expect_golden(std::string(name) + ".loss", loss);
    expect_golden(std::string(name) + ".grad", grad(loss, {fakes})[0]);
  }
  const Tensor z = Tensor::from(formula_numbers("z", 35), {5, 7}, DType::f64, Device::cpu()).require_grad(),
               t = Tensor::from(formula_numbers("t", 161), {23, 7}, DType::f64, Device::cpu());
  const Tensor distance = latent_distance(z, t);
  expect_golden("distance", distance);
  expect_golden("distance.grad", grad(distance, {z})[0]);
}

TEST(MethodsOfTransfer, OfMineGanGTrainsOnlyBehindItsStepsAndEverythingIsMined) {
  TrainOptions o = tiny("stylegan2", {"minegan"});
  o.method<MineGan>().steps = 3;
  TrainState s(o, Device::cpu());
  Reals noise(o, s);
  Iteration iteration(o, s, nullptr, noise);
  auto before = values_of(s);
  for (int i = 0; i < 3; ++i) iteration.run();
  for (const std::string& name : moved(before, s)) EXPECT_FALSE(name.starts_with("G.")) << name;
  EXPECT_TRUE(moved(before, s).contains("miner.0.weight"));
  before = values_of(s);
  iteration.run();
  EXPECT_TRUE(moved(before, s).contains("G.synthesis.b4.const"));
  EXPECT_TRUE(moved(before, s).contains("miner.0.weight"));

  Rng rng;
  const Tensor z = randn({2, 8}, rng, DType::f32, Device::cpu());
  const auto& average = static_cast<const Miner&>(*s.role("miner").average);
  const std::unique_ptr<Generator> plain = make_generator(o.model, Device::cpu());
  update_average(plain->parameters(), s.sampled().parameters(), 0);
  EXPECT_EQ(s.sampled().code(z, {}).values.to_doubles(), plain->code(average(z), {}).values.to_doubles());
  EXPECT_NE(s.sampled().code(z, {}).values.to_doubles(), plain->code(z, {}).values.to_doubles());
}

TEST(MethodsOfTransfer, FrozenFiltersStayUnderEveryMethod) {
  for (const char* method : {"l2-sp", "distill", "ewc", "minegan", "cdc", "feature-matching"}) {
    TrainOptions o = tiny("stylegan2", {method});
    o.method<MineGan>().steps = 1;
    o.method<Ewc>().samples = 2;
    o.freeze.patterns = {"D:b16.conv0:0-3", "G:synthesis.b16.conv1:1"};
    TrainState s(o, Device::cpu());
    begin_methods(s, o);
    Reals noise(o, s);
    Iteration iteration(o, s, nullptr, noise);
    const auto before = values_of(s);
    for (int i = 0; i < 3; ++i) iteration.run();
    const auto after = values_of(s);
    for (const auto& [name, first, last] :
         {std::tuple{"D.b16.conv0.weight", 0, 4}, {"G.synthesis.b16.conv1.weight", 1, 2}}) {
      const std::vector<double>&was = before.at(name), &is = after.at(name);
      const size_t row = was.size() / 4;
      for (size_t r = 0; r < 4; ++r) {
        const auto at = std::ptrdiff_t(r * row);
        const bool same = std::equal(was.begin() + at, was.begin() + at + std::ptrdiff_t(row), is.begin() + at);
        EXPECT_EQ(same, int(r) >= first && int(r) < last) << method << " " << name << " " << r;
      }
    }
  }
}

TEST(MethodsOfTransfer, OfGloImagesAreMadeOfNormalLatentsTruncatedOnesOrThoseOfImages) {
  TrainOptions o = tiny("stylegan2", {"glo"});
  o.dataset_size = 3;
  Rng rng{.seed = 1};
  const Tensor z = randn({200, 8}, rng, DType::f32, Device::cpu());
  const auto w_of = [&](GloSample way) {
    o.method<Glo>().sample = way;
    TrainState s(o, Device::cpu());
    const auto& latents = static_cast<const LatentTable&>(*s.role("latents").network);
    const std::unique_ptr<Generator> plain = make_generator(o.model, Device::cpu());
    update_average(plain->parameters(), s.sampled().parameters(), 0);
    Tensor drawn = z;
    if (way == GloSample::truncated) {
      drawn = truncated_normal(0.3)(z);
      const std::vector<double> before = z.to_doubles(), after = drawn.to_doubles();
      double square = 0;
      for (size_t i = 0; i < after.size(); ++i) {
        EXPECT_LE(std::abs(after[i]), 0.3);
        EXPECT_GE(before[i] * after[i], 0);
        square += after[i] * after[i] / double(after.size());
      }
      EXPECT_NEAR(square, 0.09 / 3, 0.003);  // nearly uniform
    } else if (way == GloSample::latents) {
      drawn = around_latents(std::static_pointer_cast<const LatentTable>(s.role("latents").network), 0.01)(z);
      const std::vector<double> all = latents.parameters()[0].value().to_doubles(), made = drawn.to_doubles();
      std::vector<int> times(3);
      for (size_t n = 0; n < made.size(); n += 8)
        for (size_t i = 0; i < 3; ++i) times[i] += std::abs(made[n] - all[8 * i]) < 0.05;
      for (const int t : times) EXPECT_GT(t, 40);
      EXPECT_EQ(times[0] + times[1] + times[2], 200);
    }
    EXPECT_EQ(s.sampled().code(z, {}).values.to_doubles(), plain->code(drawn, {}).values.to_doubles());
    return s.sampled().code(z, {}).values.to_doubles();
  };
  const auto normal = w_of(GloSample::normal), truncated = w_of(GloSample::truncated),
             latents = w_of(GloSample::latents);
  EXPECT_NE(normal, truncated);
  EXPECT_NE(normal, latents);
}

TEST(MethodsOfTransfer, LegacyOnesDoWhatThePublishedCodeDoes) {
  const auto changed = [](const char* method, const std::function<void(const TrainState&)>& look) {
    TrainOptions o = tiny("stylegan2", {method});
    o.legacy = true;
    settle_methods(o, {});
    o.method<MineGan>().steps = 1;
    TrainState s(o, Device::cpu());
    begin_methods(s, o);
    Reals noise(o, s);
    Iteration iteration(o, s, nullptr, noise);
    const auto before = values_of(s);
    for (int i = 0; i < 3; ++i) iteration.run();
    look(s);
    return moved(before, s);
  };
  const WeightsFolder weights;
  const auto nothing = [](const TrainState&) {};
  const auto of_scale_shift = changed("scale-shift", nothing), of_glo = changed("glo", nothing);
  EXPECT_TRUE(of_scale_shift.contains("G.synthesis.b16.conv0.weight"));
  EXPECT_TRUE(of_glo.contains("G.synthesis.b16.conv0.weight"));
  EXPECT_FALSE(of_glo.contains("latents.weight"));
  for (const std::string& name : changed("minegan", [](const TrainState& s) {
         EXPECT_TRUE(s.generator().miner());
         EXPECT_FALSE(s.sampled().miner());
       }))
    EXPECT_TRUE(name.starts_with("miner.") || name.starts_with("D.")) << name;

  TrainOptions mined = tiny("sngan", {"minegan"});  // without an average
  mined.legacy = true;
  const Method& minegan = *std::ranges::find(methods(), std::string("minegan"), &Method::name);
  EXPECT_MENTIONS(message_of<ConfigError>([&] { minegan.check(mined); }), "give --average");

  TrainOptions o = tiny("stylegan2", {"l2-sp"});
  o.legacy = true;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { settle_methods(o, {}); }), "--legacy goes with --method");
}

TEST(MethodsOfTransfer, AnOptionOfAMethodThatIsNotChosenIsAnError) {
  TrainOptions o = tiny("stylegan2", {});
  EXPECT_MENTIONS(message_of<ConfigError>([&] {
                    settle_methods(o, {{"--l2-sp", "2"}});
                  }),
                  "--l2-sp goes with --method l2-sp");
  o.method_names = {"l2-sp"};
  o.init.clear();
  EXPECT_MENTIONS(message_of<ConfigError>([&] { o.check(); }), "give --init FILE");
}

}  // namespace
}  // namespace firn
