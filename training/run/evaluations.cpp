#include "training/run/evaluations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "kernels/choice/plan_store.h"
#include "training/run/run_folder.h"
#include "training/run/team.h"
#include "training/step/feed.h"

namespace firn {
namespace {

constexpr int64_t kScored = 500;  // images of each kind that D scores

// Tells of each piece that is read or generated, whatever for: a moment to stop.
class Watched : public ImageSet {
 public:
  Watched(std::shared_ptr<const ImageSet> images, MeasuringProgress progress)
      : images_(std::move(images)), progress_(std::move(progress)) {}
  std::string name() const override { return images_->name(); }
  int64_t size() const override { return images_->size(); }
  int classes() const override { return images_->classes(); }
  Image image(int64_t item) const override { return images_->image(item); }
  std::string content() const override { return images_->content(); }
  void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const override {
    int64_t done = 0;
    images_->read(count, [&](std::span<const MeasuredImage> some) {
      progress_(name(), done, std::min(count, size()));
      use(some);
      done += std::ssize(some);
    });
  }

 private:
  std::shared_ptr<const ImageSet> images_;
  MeasuringProgress progress_;
};

std::shared_ptr<const ImageSet> trained_images(const TrainOptions& o, std::shared_ptr<const Dataset> dataset) {
  if (!o.data.mirror) return stored_images(std::move(dataset), "training images");
  DatasetOptions plain = o.data;  // mirrored images are no images more: metrics compare with the stored ones
  plain.mirror = false;
  plain.use_labels = o.cond;
  return stored_images(std::make_shared<const Dataset>(plain), "training images");
}

std::shared_ptr<const ImageSet> left_out_images(const TrainOptions& o, const MeasuringProgress& progress) {
  if (!o.data.holdout.any()) return nullptr;
  DatasetOptions rest = o.data;
  rest.held_out = true;
  rest.mirror = false;
  rest.use_labels = o.cond;
  return std::make_shared<Watched>(stored_images(std::make_shared<const Dataset>(rest), "left-out images"), progress);
}

// With the full name of a score that is measured. ConfigError where it names another.
std::optional<StopWhen> stop_when_of(const MetricOptions& m, const WeightFiles& files) {
  std::optional<StopWhen> stop = stop_when(m);
  if (!stop) return stop;
  if (m.names.empty()) throw ConfigError("--stop-when needs a metric, and --metrics says none");
  std::vector<std::string> scores;
  for (const MetricName& name : parse_metrics(m.names, files))
    for (const Metric::Value& value : name.metric->values)
      if (value.better != Better::neither) scores.push_back(name.text() + value.name);
  // As it was given for --metrics, it stands for the first score of that metric.
  if (std::ranges::count(scores, stop->metric) == 0) {
    std::vector<std::string> name = {stop->metric};
    settle_networks(name, files);
    const auto parsed = parse_metrics(name, files);
    stop->metric = parsed[0].text() + parsed[0].metric->values[0].name;
  }
  if (std::ranges::count(scores, stop->metric) == 0)
    throw ConfigError(
        fmt::format("--stop-when: {} is not measured; there are {}", stop->metric, fmt::join(scores, ", ")));
  return stop;
}

}  // namespace

std::unique_ptr<ImageSet> generated_by(const TrainState& state, const TrainOptions& o, uint64_t others, int64_t first) {
  const auto g = std::shared_ptr<const Generator>(std::shared_ptr<const void>(), &state.sampled());
  return generated_images(
      g, {.seed = seed_for(o.seed, SeedUse::grid) + others, .class_counts = o.class_counts, .first = first},
      "generated images");
}

Measures::Measures(const TrainOptions& o, const Device& device, std::shared_ptr<const Dataset> dataset,
                   const std::vector<std::string>& metrics, MeasuringProgress told,
                   std::function<FeatureTable(const FeatureExtractor&, int64_t)> fakes)
    : progress(std::move(told)),
      trained(std::make_shared<Watched>(trained_images(o, std::move(dataset)), progress)),
      left_out(left_out_images(o, progress)),
      comparison([&] {
        const WeightFiles files = weight_files(o.metrics.features);
        return Comparison(trained, left_out, parse_metrics(metrics, files),
                          {.features = files,
                           .device = device,
                           .cache = kernels::cache_folder() / "features",
                           .fakes = std::move(fakes)});
      }()) {}

std::shared_ptr<const ImageSet> Measures::generated(const TrainState& state, const TrainOptions& o,
                                                    uint64_t others) const {
  return std::make_shared<Watched>(generated_by(state, o, others), progress);
}

Evaluations::Evaluations(const TrainOptions& options, const TrainState& state, std::shared_ptr<const Dataset> dataset,
                         std::filesystem::path run, MeasuringProgress progress, Stage stage, std::shared_ptr<Team> team)
    : options_(options), state_(state), run_(std::move(run)), stage_(stage), team_(std::move(team)) {
  const MetricOptions& m = options.metrics;
  stop_when_ = stop_when_of(m, weight_files(m.features));
  const auto fakes = [&options, &state, team = team_, progress](const FeatureExtractor& find, int64_t count) {
    return team->features(find, count, options, state, progress);
  };
  if (!m.names.empty()) measures_.emplace(options, state.device(), std::move(dataset), m.names, progress, fakes);
  log_.emplace(run_, state.counters.images);  // it may cut lines: behind all that may fail
}

void require_metrics(TrainOptions& options) {
  const WeightFiles files = weight_files(options.metrics.features);
  settle_networks(options.metrics.names, files);
  if (const auto stop = stop_when_of(options.metrics, files))
    options.metrics.stop_when = fmt::format("{}:no-better:{}", stop->metric, stop->evaluations);
  for (const MetricName& name : parse_metrics(options.metrics.names, files)) {
    if (name.against == Against::left_out && !options.data.holdout.any()) throw_no_left_out(name);
    require_weights(name, files);
  }
}

bool Evaluations::due(int64_t finished_tick) const {
  if (!measures_) return false;
  const int every = options_.metrics.every > 0 ? options_.metrics.every : options_.snap;
  return stage_.over(options_, state_.counters.images) || (finished_tick > 0 && finished_tick % every == 0);
}

bool Evaluations::missing() const {
  const Counters& c = state_.counters;
  return c.tick > 0 && c.tick_start == c.images && due(c.tick - 1) && !not_measured().empty();
}

std::vector<MetricName> Evaluations::not_measured() const {
  std::vector<MetricName> names = measures_->comparison.names();
  std::erase_if(names, [&](const MetricName& name) { return log_->has(name, state_.counters.images); });
  return names;
}

std::optional<int64_t> Evaluations::best() const {
  if (!measures_) return std::nullopt;
  const MetricName& first = measures_->comparison.names().front();
  const auto curve = log_->curves().find(first.text() + first.metric->values.front().name);
  const auto best = curve == log_->curves().end() ? std::nullopt : curve->second.best(stage_.begin);
  return best ? std::optional(best->first) : std::nullopt;
}

std::vector<std::string> Evaluations::evaluate(EventFile& events) {
  const int64_t images = state_.counters.images;
  const auto fakes = measures_->generated(state_, options_);
  const Evaluation found =
      measures_->comparison(fakes, &state_.sampled(), not_measured());  // a kill may have left some
  const HeldOutScores scores = measures_->left_out ? held_out_scores(*fakes) : HeldOutScores{};

  std::vector<std::string> lines;
  std::string line = "metrics  ";
  for (const MetricResult& result : found.metrics) {
    log_->add(result, numbered("snapshot", images, "safetensors"), images, team_->measuring());
    for (const Score& score : result.scores) {
      events.scalar("Metrics/" + score.name, float(score.value), images);
      line += fmt::format("  {} {:.5g}", score.name, score.value);
      const bool first =
          result.name.text() == measures_->comparison.names().front().text() && &score == &result.scores.front();
      const auto best = first ? log_->curves().at(score.name).best(stage_.begin) : std::nullopt;
      if (!best) continue;
      line += best->first == images ? " (best)"
                                    : fmt::format(" (best {:.5g} at {:g} kimg)", best->second, best->first / 1e3);
    }
  }
  if (!found.metrics.empty()) lines.push_back(line + fmt::format("  in {:.1f} s", found.seconds));
  for (const std::string& failure : found.failures) lines.push_back("metrics    failed: " + printable(failure, 1000));
  line.clear();
  if (found.memorising) {
    line = "           " + to_text(*found.memorising, found.memorising_in);
    events.scalar("Metrics/copies", float(found.memorising->share), images);
    events.scalar("Metrics/copies_expected", float(found.memorising->expected), images);
    const Image sheet = measures_->comparison.neighbours_sheet(found);
    save_png(run_ / "neighbours.png", sheet);
  }
  if (measures_->left_out) {
    line += fmt::format("{}D: trained on {:+.3f}, left out {:+.3f}, generated {:+.3f}, overfitting {:.2f}",
                        line.empty() ? "           " : "  ", scores.trained, scores.left_out, scores.fake,
                        scores.overfitting());
    events.scalar("Metrics/D_trained", float(scores.trained), images);
    events.scalar("Metrics/D_left_out", float(scores.left_out), images);
    events.scalar("Metrics/D_overfitting", float(scores.overfitting()), images);
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

bool Evaluations::over() const {
  if (!stop_when_) return false;
  const auto curve = log_->curves().find(stop_when_->metric);
  return curve != log_->curves().end() && curve->second.since_best() >= stop_when_->evaluations;
}

HeldOutScores Evaluations::held_out_scores(const ImageSet& fakes) const {
  const NoGrad no_grad;
  const Discriminator& d = state_.discriminator();
  const auto mean_logit = [&](const ImageSet& images) {
    double sum = 0;
    int64_t n = 0;
    std::vector<MeasuredImage> waiting;
    // Statistics over the batch see batches of the size that they were trained with; few images fill one by turns.
    const auto score = [&] {
      std::vector<float> values;
      std::vector<int> labels;
      for (const MeasuredImage& m : waiting) {
        for (const uint8_t v : m.image.pixels) values.push_back(float(v) / 127.5f - 1);
        labels.push_back(m.label);
      }
      const Image& first = waiting[0].image;
      const Tensor batch =
          Tensor::from(std::span<const float>(values), {std::ssize(waiting), first.height, first.width, first.channels},
                       state_.generator().type(), state_.device());
      const Tensor logits =
          d(batch, class_labels(labels, state_.generator().classes(), state_.device()), 1, Mode::eval);
      for (const double v : logits.to_doubles()) sum += v;
      n += std::ssize(waiting);
      waiting.clear();
    };
    images.read(std::min(kScored, images.size()), [&](std::span<const MeasuredImage> some) {
      for (const MeasuredImage& m : some) {
        waiting.push_back(m);
        if (std::ssize(waiting) == options_.batch_gpu) score();
      }
    });
    if (n == 0 && !waiting.empty()) {
      for (size_t i = 0; std::ssize(waiting) < options_.batch_gpu; ++i) waiting.push_back(MeasuredImage(waiting[i]));
      score();
    }
    return sum / double(n);
  };
  return {mean_logit(*measures_->trained), mean_logit(*measures_->left_out), mean_logit(fakes)};
}

}  // namespace firn
