// How the engine is extended, as one program: an op, an option, a model, an objective and a method of its own, trained
// for some iterations on noise. In the project itself each is a file and a row (CONTRIBUTING.md).
//   example_extending [ITERATIONS]
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "models/layers/maker.h"
#include "models/registry.h"
#include "training/methods/method.h"
#include "training/step/iteration.h"

using namespace firn;

namespace {

// --- an op: y = sign(x) max(|x| - k, 0). Its gradient is made of ops, so it can be differentiated any number of times.
Tensor softshrink(const Tensor& x, double k) {
  const Tensor kept = [&] {
    const NoGrad constant;
    return relu(sign(abs(x) - k));
  }();
  return (x - sign(x) * k) * kept;
}

// --- a model: options with a row each, and two networks.
struct DcganOptions {
  static constexpr std::string_view kind = "dcgan";
  int height = 16, width = 0, img_channels = 3, c_dim = 0, z_dim = 16;
  int filters = 16;
  double shrink = 0.1;  // --- an option: the member with its default, and the row in visit()
  DType type = DType::f32, activation_type = DType::f32;
  uint64_t seed = 0;

  void visit(OptionVisitor& v) {
    v({.key = "z_dim"}, z_dim);
    v({.key = "filters", .flag = "--filters", .help = "filters of each layer", .least = 1, .most = 1024}, filters);
    v({.key = "shrink", .flag = "--shrink", .help = "what D's features lose", .least = 0, .most = 1}, shrink);
  }
  std::string describe() const { return fmt::format("{} filters", filters); }
  void check() const {
    if (height != 16 || img_channels != 3 || c_dim != 0) throw ConfigError("DCGAN: 16x16 images without classes");
  }
};

class DcganGenerator : public Generator {
 public:
  DcganGenerator(DcganOptions o, const Device& device) : Generator(device), o_(o) {
    ParameterMaker make(parameters_, o.seed, o.type, device);
    project_ = make.normal("project.weight", {o.filters * 64, o.z_dim}, 1 / std::sqrt(o.z_dim));
    paint_ = make.normal("paint.weight", {3, 3, 3, o.filters}, 1 / std::sqrt(9.0 * o.filters));
  }
  int z_dim() const override { return o_.z_dim; }
  int classes() const override { return 0; }
  DType type() const override { return o_.type; }
  Tensor forward(const Tensor& z, const Tensor&, Rng*) const override {
    const Tensor x = reshape(matmul(z, project_(), {.trans_b = true}), {z.dim(0), 8, 8, o_.filters});
    return tanh(conv2d(upsample_nearest(relu(x)), paint_(), {.pad = 1}));
  }
  Code code(const Tensor& z, const Tensor& labels, Truncation) const override { return {z, labels}; }
  Tensor image(const Code& c, const Noise&) const override { return forward(c.values, c.labels, nullptr); }

 private:
  DcganOptions o_;
  Parameter project_, paint_;
};

class DcganDiscriminator : public Discriminator {
 public:
  DcganDiscriminator(DcganOptions o, const Device& device) : Discriminator(device), o_(o) {
    ParameterMaker make(parameters_, o.seed, o.type, device);
    look_ = make.normal("look.weight", {o.filters, 3, 3, 3}, 1 / std::sqrt(27.0));
    judge_ = make.normal("judge.weight", {1, 64 * o.filters}, 1 / std::sqrt(64.0 * o.filters));
  }
  Tensor operator()(const Tensor& images, const Tensor&, int, Mode) const override {
    const Tensor x = softshrink(average_pool(conv2d(images, look_(), {.pad = 1})), o_.shrink);
    return matmul(reshape(x, {images.dim(0), -1}), judge_(), {.trans_b = true});
  }
  std::vector<Layer> layers() const override {
    return {{.name = "look", .block = "look", .parameters = {"look.weight"}, .flops = 1, .reads = Reads::images},
            {.name = "judge", .block = "judge", .parameters = {"judge.weight"}, .flops = 1, .head = true}};
  }

 private:
  DcganOptions o_;
  Parameter look_, judge_;
};

Model dcgan_model() {
  return {.kind = std::string(DcganOptions::kind),
          .title = "DCGAN",
          .defaults = [] { return ModelSpec(DcganOptions{}); },
          .generator = [](const ModelSpec& s, const Device& device) -> std::unique_ptr<Generator> {
            return std::make_unique<DcganGenerator>(s.as<DcganOptions>(), device);
          },
          .discriminator = [](const ModelSpec& s, const Device& device) -> std::unique_ptr<Discriminator> {
            return std::make_unique<DcganDiscriminator>(s.as<DcganOptions>(), device);
          }};
}

// --- an objective: which phases there are, and what each minimises.
struct DcganLoss {
  static constexpr std::string_view kind = "dcgan";
  void visit(OptionVisitor&) {}
};

std::vector<Phase> phases(const Training& t) {
  const Generator* g = &t.state.generator();
  const Discriminator* d = &t.state.discriminator();
  const int64_t n = t.options.batch;
  const auto latents = [=](Rng& rng) {
    Inputs in;
    in.put("z", randn({n, g->z_dim()}, rng, g->type(), g->device()));
    return in;
  };
  return {{.name = "G",
           .trains = "G",
           .samples = n,
           .at_once = n,
           .draw = latents,
           .terms =
               [=](const Inputs& in, Rng*) {
                 return Terms{.total = mean(softplus(-(*d)(g->forward(in["z"], {})))), .stat = "Loss/G/loss"};
               }},
          {.name = "D",
           .trains = "D",
           .samples = n,
           .at_once = n,
           .feeds = {std::make_shared<RealsFeed>(t.reals)},
           .draw =
               [=, reals = t.reals](Rng& rng) {
                 Inputs in = latents(rng);
                 in.put("images", reals->images());
                 return in;
               },
           .terms =
               [=](const Inputs& in, Rng*) {
                 const Tensor fakes = g->forward(in["z"], {}).detach();
                 return Terms{.total = mean(softplus(-(*d)(in["images"]))) + mean(softplus((*d)(fakes))),
                              .stat = "Loss/D/loss"};
               }}};
}

Objective dcgan_objective() {
  return {.model = std::string(DcganOptions::kind),
          .presets = {{"auto", "", [](TrainOptions& o, int) { o.batch = o.batch_gpu = 8; }}},
          .defaults = [] { return AnyOptions(DcganLoss{}); },
          .describe = [](const TrainOptions&) { return std::string("non-saturating loss"); },
          .adam = [](const TrainOptions& o, std::string_view) { return AdamOptions{.lr = o.lr, .beta2 = o.beta2}; },
          .phases = phases};
}

// --- a method: G stays near the weights that it started from (L2-SP: Li et al. 2018, arXiv 1802.01483).
struct StayNear {
  static constexpr std::string_view kind = "stay_near";
  double weight = 0;
  void visit(OptionVisitor& v) {
    v({.key = "weight", .flag = "--stay-near", .help = "weight of the distance to the source", .least = 0}, weight);
  }
};

Method stay_near_method() {
  return {.name = "stay-near",
          .also_chosen = [](const TrainOptions& o) { return o.method<StayNear>().weight > 0; },
          .defaults = [] { return AnyOptions(StayNear{}); },
          .prepare =
              [](TrainState& s, const TrainOptions& o) {  // a role without an optimiser, which snapshots keep
                s.roles.emplace_back("source", make_generator(o.model, s.device()));
              },
          .begin =
              [](TrainState& s, const TrainOptions&) {
                update_average(s.role("source").network->parameters(), s.generator().parameters(), 0);
              },
          .extend =
              [](std::vector<Phase>& phases, const Training& t) {
                const Parameters now = t.state.generator().parameters(),
                                 then = t.state.role("source").network->parameters();
                for (Phase& phase : phases) {
                  if (phase.trains != "G") continue;
                  phase.terms = [=, terms = phase.terms, weight = t.options.method<StayNear>().weight](const Inputs& in,
                                                                                                       Rng* rng) {
                    Terms all = terms(in, rng);
                    Tensor distance;
                    for (size_t i = 0; i < now.size(); ++i) {
                      const Tensor d = sum(square(now[i].value() - then[i].value().detach()));
                      distance = distance.defined() ? distance + d : d;
                    }
                    all.total = all.total + distance * weight;
                    all.report.push_back({"distance", "Loss/G/distance", distance.detach()});
                    return all;
                  };
                }
              }};
}

}  // namespace

int main(int argc, char** argv) try {
  add_model(dcgan_model());
  add_objective(dcgan_objective());
  add_method(stay_near_method());

  TrainOptions options = TrainOptions::of("dcgan");
  configure(options, {.height = 16, .width = 16, .channels = 3}, 0, {{"--stay-near", "0.1"}, {"--filters", "8"}});
  options.check();
  TrainState state(options, Device::cpu());
  begin_methods(state, options);
  Reals noise(options, state);
  Iteration iteration(options, state, nullptr, noise);
  for (int i = 0; i < (argc > 1 ? std::atoi(argv[1]) : 20); ++i) iteration.run();
  for (const auto& [name, stat] : state.stats.read()) fmt::print("{} {:.4f}\n", name, stat.mean());
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
