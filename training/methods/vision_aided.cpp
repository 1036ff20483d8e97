#include "training/methods/vision_aided.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "training/augment/augment.h"
#include "training/methods/judges.h"
#include "training/step/feed.h"
#include "training/step/reals.h"

namespace firn {
namespace {

// What a network sees of images: ADA's transforms by a probability of its own and a cutout always, or DiffAugment.
class VisionAugment {
 public:
  VisionAugment(const VisionAided& o, const ImageShape& images, const std::string& name, TrainState& state)
      : name_(name) {
    const DType type = state.generator().type();
    const Tensor none = Tensor::zeros({1}, type, state.device());
    if (o.aug != "ada") {
      parts_.emplace_back(AugmentOptions{.aug = o.aug}, images, none);
      return;
    }
    parts_.emplace_back(AugmentOptions{.aug = "ada", .target = o.target, .ada_kimg = o.ada_kimg}, images,
                        state.scalar(name + "_p"), state.scalar(name + "_signs"));
    parts_.emplace_back(AugmentOptions{.aug = "diffaug-cutout"}, images, none);
  }
  void draw(Inputs& in, const char* which, int64_t n, Rng& rng) const {
    for (size_t i = 0; i < parts_.size(); ++i) parts_[i].draw(in, key(which, i), n, rng);
  }
  Tensor operator()(Tensor images, const Inputs& in, const char* which) const {
    for (size_t i = 0; i < parts_.size(); ++i) images = parts_[i](images, in, key(which, i));
    return images;
  }
  void note(const Tensor& logits, std::vector<Term>& report) const {
    parts_[0].note(logits, report, "Loss/signs/real_" + name_);
  }
  void iteration_ends(int64_t iterations, int64_t images) const { parts_[0].iteration_ends(iterations, images); }

 private:
  std::string key(const char* which, size_t i) const { return fmt::format("{}_{}_{}", name_, which, i); }
  std::string name_;
  std::vector<Augment> parts_;
};

// Before the first phase of an iteration that reads reals: p follows the signs of those before it.
struct Adapt : Feed {
  Adapt(const TrainState& state, std::shared_ptr<const VisionAugment> augment, int64_t images)
      : state(state), augment(std::move(augment)), images(images) {}
  void refresh(Rng&) override {
    if (std::exchange(seen, state.counters.iteration) != state.counters.iteration)
      augment->iteration_ends(state.counters.iteration, images);
  }
  const TrainState& state;
  const std::shared_ptr<const VisionAugment> augment;
  const int64_t images;
  int64_t seen = -1;
};

struct Judge {
  const VisionDiscriminator* network;
  std::shared_ptr<const VisionAugment> augment;
  std::string name;
  VisionAided loss;                   // as this one has it
  std::vector<Tensor> of_reals = {};  // what the network makes of each of them, where that is kept: [items,...]

  std::string key(size_t level) const { return fmt::format("{}_level{}", name, level); }
};

std::vector<Tensor> as_list(const FeatureNetwork::Levels& levels) {
  std::vector<Tensor> all = levels.maps;
  if (levels.pooled.defined()) all.push_back(levels.pooled);
  return all;
}

// Where images stay as they are, so does what networks make of them. Empty where it would be more than kKept bytes.
std::vector<Tensor> levels_of_reals(const Judge& judge, const TrainOptions& o, Reals& reals) {
  constexpr int64_t kKept = int64_t{1} << 30;
  const NoGrad constant;
  const int64_t batch = reals.batch(), at_once = o.batch_gpu;
  const auto levels = [&](int64_t begin) {
    return as_list(judge.network->levels(slice(reals.images(), 0, begin, begin + at_once)));
  };
  const int64_t items = reals.items_in_all();
  std::vector<Tensor> all;
  int64_t bytes = 0;
  for (const Tensor& level : levels(0)) {
    Shape shape = level.shape();
    bytes += level.count() / shape[0] * std::max<int64_t>(items, o.dataset_size) * int64_t(size_of(level.type()));
    if (bytes > kKept) return {};  // as in the run that a rehearsal, which has fewer, is of
    shape[0] = items;
    all.push_back(Tensor::empty(shape, level.type(), level.device()));
  }
  const std::string what = "images seen by " + judge.name;
  reals.each(what.c_str(), [&] {
    for (int64_t begin = 0; begin < batch; begin += at_once) {
      const std::vector<Tensor> found = levels(begin);
      for (size_t i = 0; i < all.size(); ++i)
        copy_rows(all[i], found[i], reals.items().as<int32_t>() + begin, nullptr, at_once);
    }
  });
  return all;
}

void judge_fakes(Phase& phase, const VisionAided& o, const std::vector<Judge>& judges) {
  phase.draw = [=, draw = phase.draw, n = phase.samples](Rng& rng) {
    Inputs in = draw(rng);
    for (const Judge& j : judges) j.augment->draw(in, "fakes", n, rng);
    return in;
  };
  phase.terms = [=, &o, terms = phase.terms](const Inputs& in, Rng* rng) {
    Terms all = terms(in, rng);
    if (!all.fakes.images.defined()) throw Error("vision-aided: this objective does not tell what G made");
    for (const Judge& j : judges) {
      const std::vector<Tensor> logits =
          (*j.network)(j.augment->operator()(all.fakes.images, in, "fakes"), in["gen_labels"]);
      const Tensor loss = vision_loss(j.loss, logits, true, true);
      all.total = all.total + loss * o.weight;
      all.report.push_back({j.name, fmt::format("Loss/G/{}", j.name), loss.detach()});
    }
    return all;
  };
}

void judge_both(Phase& phase, const VisionAided& o, const std::vector<Judge>& judges, Reals* reals) {
  for (const Judge& j : judges) phase.beside.push_back(j.name);
  phase.draw = [=, draw = phase.draw, n = phase.samples](Rng& rng) {
    Inputs in = draw(rng);
    if (reals && !in.has("images")) in.put("images", reals->images());  // D reads features of them
    for (const Judge& j : judges) {
      for (const char* which : {"fakes", "reals"}) j.augment->draw(in, which, n, rng);
      for (size_t i = 0; i < j.of_reals.size(); ++i) in.put(j.key(i), gather(j.of_reals[i], reals->items()));
    }
    return in;
  };
  phase.terms = [=, &o, terms = phase.terms](const Inputs& in, Rng* rng) {
    Terms all = terms(in, rng);
    const int64_t n = in.size();
    const Tensor labels = in["labels"].defined() ? concat({in["gen_labels"], in["labels"]}, 0) : Tensor();
    for (const Judge& j : judges) {
      const FeatureNetwork::Levels levels = [&] {
        const NoGrad frozen;
        const auto seen = [&](const Tensor& x, const char* which) { return (*j.augment)(x.detach(), in, which); };
        const Tensor fakes = seen(all.fakes.images, "fakes");
        if (j.of_reals.empty()) return j.network->levels(concat({fakes, seen(in["images"], "reals")}, 0));
        FeatureNetwork::Levels found = j.network->levels(fakes);
        size_t level = 0;
        for (Tensor& map : found.maps) map = concat({map, in[j.key(level++)]}, 0);
        if (found.pooled.defined()) found.pooled = concat({found.pooled, in[j.key(level)]}, 0);
        return found;
      }();
      const std::vector<Tensor> logits = j.network->head()(levels, labels);
      std::vector<Tensor> fake, real;
      for (const Tensor& l : logits) {
        fake.push_back(slice(l, 0, 0, n));
        real.push_back(slice(l, 0, n, 2 * n));
      }
      const Tensor loss = vision_loss(j.loss, fake, false, false) + vision_loss(j.loss, real, true, false);
      all.total = all.total + loss * o.weight;
      all.report.push_back({j.name, fmt::format("Loss/D/{}", j.name), loss.detach()});
      all.report.push_back({"", fmt::format("Loss/scores/real_{}", j.name), mean(real.back().detach())});
      all.report.push_back({"", fmt::format("Loss/scores/fake_{}", j.name), mean(fake.back().detach())});
      j.augment->note(real.back(), all.report);
    }
    return all;
  };
}

std::vector<std::string> names_in(const std::string& text) {
  return text.empty() ? std::vector<std::string>() : parts_of(text, '+');
}

void require_once(const char* option, const std::string& text) {
  const std::vector<std::string> names = names_in(text);
  if (std::set(names.begin(), names.end()).size() < names.size())
    throw ConfigError(fmt::format("{} {} names a network twice", option, printable(text)));
}

TextValue kimgs_value(std::vector<double>& kimgs) {
  return {.get = [&] { return fmt::format("{:g}", fmt::join(kimgs, ",")); },
          .set =
              [&](const std::string& text) {
                std::vector<double> found;
                for (const std::string& part : parts_of(text, ',')) {
                  double& kimg = found.emplace_back();
                  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), kimg);
                  if (error != std::errc() || end != part.data() + part.size() || !(kimg > 0 && kimg <= 1e9))
                    throw ConfigError(
                        fmt::format("--vision-kimg {}: expected thousands of images above 0 for each "
                                    "stage, like 4000,1000,1000",
                                    printable(text, 60)));
                }
                kimgs = found;
              }};
}

void check_progressive(const TrainOptions& o) {
  const VisionAided& v = o.method<VisionAided>();
  if (int(v.stage_kimg.size()) < v.progressive)
    throw ConfigError(fmt::format("--vision-kimg has {} for --vision-progressive {}: each stage needs its own",
                                  v.stage_kimg.size(), v.progressive));
  if (const double all = double(v.stage_end(v.progressive)) / 1000; o.kimg != all)
    throw ConfigError(fmt::format("--kimg {:g}: the stages of --vision-progressive take {:g} together", o.kimg, all));
  if (!o.metrics.stop_when.empty())
    throw ConfigError("--stop-when would end a stage of --vision-progressive, not the run");
  if (o.freeze.open())
    throw ConfigError("--freeze-d auto and --vision-progressive are two searches; give the depth that the first found");
  if (int(v.names().size()) > v.progressive)
    throw ConfigError(fmt::format("--vision-progressive {}: {} networks have joined", v.progressive, v.names().size()));
  require_once("--vision-bank", v.bank);
}

void check(const TrainOptions& o) {
  const VisionAided& v = o.method<VisionAided>();
  const std::vector<std::string> names = v.names();
  if (v.progressive > 0)
    check_progressive(o);
  else if (names.empty())
    throw ConfigError("--method vision-aided needs --vision-aided NETWORK, or several: NETWORK+NETWORK");
  for (const std::string& name : names) check_judge_rows(name, v.size, "--vision-size");
  require_once("--vision-aided", v.networks);
  if (std::ranges::count(o.method_names, "glo")) throw ConfigError("--vision-aided needs D, which glo does not train");
  if (const int channels = o.model.images().channels; channels != 1 && channels != 3)
    throw ConfigError("--vision-aided needs RGB or gray images");
}

}  // namespace

std::vector<std::string> VisionAided::names() const { return names_in(networks); }

int64_t VisionAided::stage_end(int joined) const {
  return std::llround(1000 * std::accumulate(stage_kimg.begin(), stage_kimg.begin() + joined, baseline_kimg));
}

void VisionAided::visit(OptionVisitor& v) {
  v({.key = "networks",
     .flag = "--vision-aided",
     .help = "frozen networks that judge images with heads of their own, NAME or NAME+NAME: those of --features",
     .group = method_group},
    networks);
  v({.key = "hashes"}, hashes);
  v({.key = "weight",
     .flag = "--vision-weight",
     .help = "weight of each of their losses",
     .group = method_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    weight);
  v({.key = "warm_up_kimg",
     .flag = "--vision-warm-up",
     .help = "thousands of images before they join",
     .group = method_group,
     .least = 0,
     .most = 1e9},
    warm_up_kimg);
  v({.key = "loss", .flag = "--vision-loss", .help = "sigmoid or hinge", .group = method_group},
    choice(loss, "loss", {{VisionLoss::sigmoid, "sigmoid"}, {VisionLoss::hinge, "hinge"}}));
  v({.key = "smoothing",
     .flag = "--vision-smoothing",
     .help = "what real images lack of the label 1, with sigmoid",
     .group = method_group,
     .least = 0,
     .most = 0.5,
     .may_change = true},
    smoothing);
  v({.key = "head",
     .flag = "--vision-heads",
     .help =
         "spectral: normalised by their largest singular values, or equalised learning rates [of StyleGAN2 equalised]",
     .group = method_group},
    choice(head, "kind of heads", {{HeadKind::spectral, "spectral"}, {HeadKind::equalised, "equalised"}}));
  v({.key = "aug",
     .flag = "--vision-aug",
     .help = "what happens to images before they see them: noaug, ada and a cutout, or diffaug-...",
     .group = method_group},
    checked(aug, [](const std::string& text) {
      check_aug(text, "--vision-aug");
      if (text == "fixed") throw ConfigError("--vision-aug fixed: expected noaug, ada or diffaug-...");
    }));
  v({.key = "target",
     .flag = "--vision-target",
     .help = "with --vision-aug ada: the mean sign of their logits of reals that the probability is to keep",
     .group = method_group,
     .least = -1,
     .most = 1,
     .may_change = true},
    target);
  v({.key = "ada_kimg", .least = 0, .above_least = true, .may_change = true}, ada_kimg);
  v({.key = "size",
     .flag = "--vision-size",
     .help = "rows and columns of the images that they are given; fewer cost less [224, or 256 where published so]",
     .group = method_group,
     .least = 0,
     .most = 1024},
    size);
  v({.key = "progressive",
     .flag = "--vision-progressive",
     .help = "so many networks join one after another, each time the one that best tells images from real ones",
     .group = method_group,
     .least = 0,
     .most = 100},
    progressive);
  v({.key = "stage_kimg",
     .flag = "--vision-kimg",
     .help = "with it: thousands of images with one network, with two, ...; they make --kimg",
     .group = method_group},
    kimgs_value(stage_kimg));
  v({.key = "baseline_kimg",
     .flag = "--vision-baseline",
     .help = "with it and without --init: thousands of images before the first",
     .group = method_group,
     .least = 0,
     .most = 1e9},
    baseline_kimg);
  v({.key = "bank",
     .flag = "--vision-bank",
     .help = "with it: out of these, NAME+NAME [all that there are weights of, but for those that --metrics uses]",
     .group = method_group},
    checked(bank, [](const std::string& text) {
      for (const std::string& name : names_in(text)) feature_model(name);
    }));
  v({.key = "unsmoothed"}, unsmoothed);
  v({.key = "stage_began", .least = 0}, stage_began);
}

std::shared_ptr<VisionDiscriminator> make_judge(const TrainOptions& o, const FeatureWeights& weights, uint64_t seed,
                                                const Device& device) {
  const VisionAided& v = o.method<VisionAided>();
  try {
    return std::make_shared<VisionDiscriminator>(
        load_judge(o, weights, device),
        VisionDiscriminator::Options{.images = o.model.images(),
                                     .size = judge_rows(weights.model->name, v.size),
                                     .head = v.head,
                                     .classes = o.model.basics().classes,
                                     .type = o.model.type()},
        seed);
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", weights.model->name, e.what()));
  }
}

void let_judge(TrainOptions& o, const std::string& network) {
  auto& v = o.method<VisionAided>();
  const auto add = [](std::string& to, const std::string& what) { to += (to.empty() ? "" : "+") + what; };
  add(v.hashes, judge_weights(o, network).sha256);
  add(v.networks, network);
}

Tensor vision_loss(const VisionAided& o, const std::vector<Tensor>& logits, bool real, bool of_g) {
  Tensor total;
  for (const Tensor& x : logits) {
    Tensor level;
    if (o.loss == VisionLoss::hinge)
      level = of_g ? -mean(x) : mean(relu(affine(x, real ? -1 : 1, 1)));
    else
      level = real ? mean(softplus(x)) - mean(x) * (1 - o.smoothing) : mean(softplus(x));
    total = total.defined() ? total + level : level;
  }
  return total;
}

Method vision_aided_method() {
  return {
      .name = "vision-aided",
      .paper = "vision-aided GAN: Kumari et al. 2022, arXiv 2112.09130",
      .summary = "+ heads of frozen networks judge images beside D (--vision-aided NETWORK+NETWORK)",
      .also_chosen =
          [](const TrainOptions& o) {
            const auto own = std::ranges::find(o.methods, VisionAided::kind, &AnyOptions::kind);
            if (own == o.methods.end()) return false;
            return !own->as<VisionAided>().networks.empty() || own->as<VisionAided>().progressive > 0;
          },
      .defaults = [] { return AnyOptions(VisionAided{}); },
      .settle =
          [](TrainOptions& o, const Overlay& given) {
            auto& v = o.method<VisionAided>();
            if (!given.has("--vision-heads") && o.model.kind() == "stylegan2") v.head = HeadKind::equalised;
            if (v.progressive > 0 && given.has("--vision-aided"))
              throw ConfigError("--vision-progressive finds the networks that --vision-aided names; give one of them");
            if (v.progressive > 0 && !o.init.empty()) {
              if (given.has("--vision-baseline"))
                throw ConfigError("--vision-baseline goes without --init, whose network is the baseline");
              v.baseline_kimg = 0;
            }
            for (const char* flag : {"--vision-kimg", "--vision-baseline", "--vision-bank"})
              if (given.has(flag) && v.progressive == 0)
                throw ConfigError(fmt::format("{} goes with --vision-progressive", flag));
            const int stages = std::min(v.progressive, int(v.stage_kimg.size()));
            if (v.progressive > 0 && !given.has("--kimg")) o.kimg = double(v.stage_end(stages)) / 1000;
            check(o);
            std::vector<std::string> hashes;
            for (const std::string& name : v.names()) hashes.push_back(judge_weights(o, name).sha256);
            v.hashes = fmt::format("{}", fmt::join(hashes, "+"));
          },
      .check = check,
      .prepare =
          [](TrainState& s, const TrainOptions& o) {
            const auto& v = o.method<VisionAided>();
            const Discriminator& d = s.discriminator();
            const DType type = s.generator().type();
            const std::vector<std::string> names = v.names(), hashes = parts_of(v.hashes, '+');
            for (size_t i = 0; i < names.size(); ++i) {
              if (i >= hashes.size()) throw ConfigError("vision-aided: a network without the hash of its weights");
              const FeatureWeights weights = judge_weights(o, names[i], hashes[i]);
              s.roles.emplace_back(judge_role(names[i]), make_judge(o, weights, o.seed + i, d.device()));
              s.roles.back().train(objective_of(o.model).adam(o, "D"));
              if (v.aug != "ada") continue;
              s.scalars.emplace_back(judge_role(names[i]) + "_p", Tensor::zeros({1}, type, d.device()));
              s.scalars.emplace_back(judge_role(names[i]) + "_signs", Tensor::zeros({2}, type, d.device()));
            }
          },
      .extend =
          [](std::vector<Phase>& phases, const Training& t) {
            const auto& o = t.options.method<VisionAided>();
            std::vector<Judge> judges;
            for (const std::string& name : o.names()) {
              const std::string role = judge_role(name);
              VisionAided loss = o;
              if (std::ranges::count(parts_of(o.unsmoothed, '+'), name)) loss.smoothing = 0;
              judges.push_back({static_cast<const VisionDiscriminator*>(t.state.role(role).network.get()),
                                std::make_shared<VisionAugment>(o, t.options.model.images(), role, t.state), role,
                                std::move(loss)});
              if (o.aug == "noaug" && t.reals)
                judges.back().of_reals = levels_of_reals(judges.back(), t.options, *t.reals);
            }
            if (judges.empty()) return;  // none has joined yet
            const auto of_d = [](const Phase& p) { return p.trains == "D" && !p.lazy; };
            const auto first = std::ranges::find_if(phases, of_d);
            const int64_t images = t.options.batch * (first == phases.end() ? 1 : first->repeats),
                          left = std::llround(o.warm_up_kimg * 1000) - t.state.counters.images,
                          begin = t.state.counters.iteration + (left + images - 1) / images;
            for (size_t i = 0; i < phases.size(); ++i) {
              const std::string& role = phases[i].trains;
              if (phases[i].lazy || (role != "G" && role != "D" && role != "miner")) continue;
              if (Phase alone = phases[i]; left > 0 && alone.from < begin) {
                alone.name += "Alone";
                alone.until = std::min(alone.until, begin);
                phases[i].from = begin;
                phases.insert(phases.begin() + std::ptrdiff_t(i++), std::move(alone));
              }
              if (!of_d(phases[i])) {
                judge_fakes(phases[i], o, judges);
                continue;
              }
              judge_both(phases[i], o, judges, t.reals);
              for (const Judge& j : judges)
                phases[i].feeds.push_back(std::make_shared<Adapt>(t.state, j.augment, images));
            }
          }};
}

}  // namespace firn
