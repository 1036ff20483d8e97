#include "training/methods/glo.h"

#include <algorithm>

#include "base/error.h"
#include "metrics/comparison.h"
#include "models/features/features.h"
#include "models/layers/latent_table.h"
#include "training/methods/source.h"
#include "training/step/reals.h"

namespace firn {
namespace {

constexpr int kDraws = 10;  // normal ones, for each latent of a batch

// |x| as a constant divides x: its gradient is that of log |x|, its value 1.
Tensor by_own_size(const Tensor& x) { return x / (abs(x.detach()) + 1e-30); }

std::shared_ptr<const FeatureNetwork> perceptual_network(const TrainOptions& o, const Generator& g) {
  const WeightFiles files = weight_files(o.metrics.features);
  const FeatureOptions options{.type = g.type()};
  if (const FeatureWeights* given = files.of("vgg16")) return load_features(*given, options, g.device());
  try {
    return load_features(find_feature_weights("vgg16", {}), options, g.device());
  } catch (const IoError& none) {
    if (const FeatureWeights* given = files.of("squeezenet")) return load_features(*given, options, g.device());
    try {
      return load_features(find_feature_weights("squeezenet", {}), options, g.device());
    } catch (const IoError&) {
      throw IoError(fmt::format("--method glo compares images with VGG16, or SqueezeNet: {}", none.what()));
    }
  }
}

// The smallest of each row, as [rows].
Tensor row_min(Tensor x) {
  while (x.dim(1) > 1) {
    const int64_t half = x.dim(1) / 2, odd = x.dim(1) % 2;
    const Tensor a = slice(x, 1, 0, half), b = slice(x, 1, half, 2 * half), smaller = a - relu(a - b);
    x = odd ? concat({smaller, slice(x, 1, 2 * half, x.dim(1))}, 1) : smaller;
  }
  return reshape(x, {x.dim(0)});
}

}  // namespace

void Glo::visit(OptionVisitor& v) {
  const auto weight = [&](const char* key, const char* flag, const char* help, double& value) {
    v({.key = key, .flag = flag, .help = help, .group = method_group, .least = 0, .most = 1e9, .may_change = true},
      value);
  };
  weight("perceptual", "--glo-perceptual", "weight of the distance of features, of VGG16 or SqueezeNet", perceptual);
  weight("emd", "--glo-emd", "weight of the distance of latents from normal draws", emd);
  weight("noise", "--glo-noise", "deviation of what is added to latents", noise);
  v({.key = "sample",
     .flag = "--glo-sample",
     .help = "what images are made of after training: normal latents, truncated (within 0.3), or latents, those of the "
             "images with the noise that they train with [normal]",
     .group = method_group,
     .may_change = true},
    choice(sample, "way to sample",
           {{GloSample::normal, "normal"}, {GloSample::truncated, "truncated"}, {GloSample::latents, "latents"}}));
}

Tensor reconstruction_loss(const FeatureNetwork& network, const Tensor& images, const Tensor& fakes, double weight) {
  const auto features = [&](const Tensor& x) { return network.activations(network.normalise((x + 1) * 127.5)); };
  const std::vector<Tensor> wanted = [&] {
    const NoGrad constant;
    return features(images);
  }();
  const std::vector<Tensor> made = features(fakes);
  Tensor loss = by_own_size(mean(abs(fakes - images)));
  for (size_t i = 0; i < made.size(); ++i) loss = loss + by_own_size(mean(square(made[i] - wanted[i]))) * weight;
  return loss;
}

Tensor latent_distance(const Tensor& z, const Tensor& t) {
  const int64_t n = z.dim(0), m = t.dim(0);
  const Tensor squares = reshape(sum_per_sample(square(z)), {n, 1}) + reshape(sum_per_sample(square(t)), {1, m}),
               d = squares - matmul(z, t, {.trans_b = true, .alpha = 2});
  return mean(row_min(d)) + mean(row_min(permute(d, {1, 0})));
}

void sample_as(const Glo& o, Generator& g, std::shared_ptr<const LatentTable> latents) {
  if (o.sample == GloSample::truncated) g.sample_with(truncated_normal(0.3));
  if (o.sample == GloSample::latents) g.sample_with(around_latents(std::move(latents), o.noise));
}

Method glo_method() {
  return {
      .name = "glo",
      .paper = "GLO: Bojanowski et al. 2018, arXiv 1707.05776; its losses: Mo et al. 2020, arXiv 2002.10964",
      .summary =
          "no D: each image has a latent; L1 + features of VGG16 (or SqueezeNet) + distance of latents from N(0,1)",
      .legacy = true,
      .defaults = [] { return AnyOptions(Glo{}); },
      .check =
          [](const TrainOptions& o) {
            require_source(o, "glo");
            if (o.augment.on() || o.freeze.blocks || o.freeze.layers || std::ranges::count(o.method_names, "distill"))
              throw ConfigError("--method glo has no D: leave out --aug, --freeze-d, --freezed and distill");
            if (o.model.images().channels != 3) throw ConfigError("--method glo compares features of RGB images");
            if (std::min(o.model.images().height, o.model.images().width) < 32)
              throw ConfigError("--method glo needs images of 32 pixels or more");
            if (o.cache_features) throw ConfigError("--method glo has no use for --cache-features: D does not train");
          },
      .prepare =
          [](TrainState& s, const TrainOptions& o) {
            if (o.dataset_size < 1) throw ConfigError("--method glo needs a data set");
            const auto latents = std::make_shared<LatentTable>(o.dataset_size, s.generator(), o.seed);
            s.roles.emplace_back("latents", latents);
            if (o.legacy)
              latents->parameters().freeze();
            else
              s.roles.back().train(objective_of(o.model).adam(o, "G"));
            sample_as(o.method<Glo>(), s.sampled(), latents);
          },
      .extend =
          [](std::vector<Phase>& phases, const Training& t) {
            const Glo& o = t.options.method<Glo>();
            Generator* g = &t.state.generator();
            auto* styled = dynamic_cast<StyleGenerator*>(g);
            const auto network = perceptual_network(t.options, *g);
            const auto* latents = static_cast<const LatentTable*>(t.state.role("latents").network.get());
            const ImageShape size = t.options.model.images();
            const int64_t n = t.options.batch;
            using Kind = Phase::Input::Kind;
            phases = {
                {.name = "Glo",
                 .trains = "G",
                 .beside = t.options.legacy ? std::vector<std::string>{} : std::vector<std::string>{"latents"},
                 .samples = n,
                 .at_once = t.options.batch_gpu,
                 .feeds = {std::make_shared<RealsFeed>(t.reals)},
                 .inputs = {{"items", {}, Kind::label},
                            {"images", {size.height, size.width, size.channels}, Kind::images},
                            {"labels", {}, Kind::label},
                            {"noise", {g->z_dim()}, Kind::normal},
                            {"draws", {kDraws, g->z_dim()}, Kind::normal}},
                 .draw =
                     [=, reals = t.reals](Rng& rng) {
                       Inputs in;
                       in.put("items", reals->items());
                       in.put("images", reals->images());
                       in.put("labels", reals->labels());
                       in.put("noise", randn({n, g->z_dim()}, rng, g->type(), g->device()));
                       in.put("draws", randn({n, kDraws, g->z_dim()}, rng, g->type(), g->device()));
                       return in;
                     },
                 .terms =
                     [=](const Inputs& in, Rng* rng) {
                       const Tensor own = (*latents)(in["items"]), z = own + in["noise"] * o.noise;
                       const Tensor fakes = [&] {
                         if (!styled) return g->forward(z, in["labels"], rng);
                         const Tensor w = styled->map(z, in["labels"]);
                         styled->update_w_avg(w);
                         return styled->synthesize(styled->broadcast(w), rng);
                       }();
                       const Tensor emd = latent_distance(own, reshape(in["draws"], {-1, g->z_dim()}));
                       return Terms{
                           .total = reconstruction_loss(*network, in["images"], fakes, o.perceptual) + emd * o.emd,
                           .stat = "",  // but for the distance of latents it is always the same
                           .report = {{"l1", "Loss/G/loss", mean(abs((fakes - in["images"]).detach()))},
                                      {"emd", "Loss/G/emd", emd.detach()}}};
                     }},
            };
          }};
}

}  // namespace firn
