#include "training/step/reals.h"

#include <algorithm>
#include <random>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "training/objectives/objective.h"

namespace firn {
namespace {

Shape batch_shape(const TrainOptions& o) {
  const ImageShape image = o.model.images();
  return {o.batch, image.height, image.width, image.channels};
}

}  // namespace

RealsPlan plan_reals(const TrainOptions& options, const Discriminator& d, const Dataset& dataset, DataMemory memory) {
  RealsPlan plan;
  const bool on_gpu = d.device().is_cuda();
  const auto available = static_cast<int64_t>(kernels::available_memory(d.device().stream()));
  const auto require = [&](const char* option, const char* what) {
    constexpr double gb = 1 << 30;
    if (plan.images + plan.features > available / 4 * 3)  // training needs the rest
      throw ConfigError(fmt::format("{}: {:.2f} GB for {} do not fit in three quarters of the {:.2f} GB that are free",
                                    option, double(plan.images + plan.features) / gb, what, double(available) / gb));
  };
  const int64_t images = dataset.stored() * dataset.width() * dataset.height() * dataset.channels();
  if (options.cache_features) {
    plan.features = count(d.features_shape(dataset.size())) * static_cast<int64_t>(size_of(d.features_type()));
    require("--cache-features", "the features");
  }
  if (memory == DataMemory::device) {
    plan.images = images;
    require("--data-memory device", "images and features");
  } else if (memory == DataMemory::automatic && on_gpu && images <= (available - plan.features) / 4) {
    plan.images = images;
  }
  return plan;
}

Reals::Reals(const TrainOptions& options, const TrainState& state, std::shared_ptr<const Dataset> dataset,
             const RealsSettings& settings)
    : count_(dataset->size()),
      progress_(settings.progress),
      order_(count_, options.seed),
      items_(Tensor::empty({options.batch}, DType::i32, state.device())),
      labels_(options.batch, options.model.classes(), state.device()) {
  const RealsPlan& plan = settings.plan;
  const Shape batch = batch_shape(options);
  const Leaves rows = rows_of(options.batch, options.batch_gpu, *settings.processes);
  rows_ = {int(rows.first), int(rows.last)};
  LoaderOptions loading{.batch = options.batch, .seed = options.seed, .threads = settings.workers};
  if (plan.images > 0) {
    resident_.emplace(batch, dataset->stored(), options.model.type(), state.device());
    loading.shuffle = false;
    load_images(*dataset, Loader(dataset, loading), settings);
  } else {
    staged_.emplace(batch, options.model.type(), state.device());
    loader_.emplace(dataset, loading);
  }
  seek(state.data, rows_);
  if (plan.features > 0) compute_features(options, state.discriminator());
}

Reals::Reals(const TrainOptions& options, const TrainState& state)
    : count_(options.batch),
      progress_(RealsSettings{}.progress),
      order_(options.batch, options.seed),
      resident_labels_(size_t(options.batch), 0),
      items_(Tensor::empty({options.batch}, DType::i32, state.device())),
      labels_(options.batch, options.model.classes(), state.device()) {
  resident_.emplace(batch_shape(options), options.batch, options.model.type(), state.device());
  std::vector<uint8_t> noise(size_t(images().count()));
  std::ranges::generate(noise, [random = std::minstd_rand()]() mutable { return uint8_t(random()); });
  resident_->store(0, noise);
  if (options.cache_features) compute_features(options, state.discriminator());
}

// The loader replaces broken images. Number n + i is number i mirrored, also where both are replaced.
void Reals::load_images(const Dataset& dataset, Loader loader, const RealsSettings& settings) {
  const int64_t count = dataset.stored();
  while (std::ssize(resident_labels_) < count) {
    const Batch batch = loader.next();
    const auto first = std::ssize(resident_labels_), n = std::min(std::ssize(batch.labels), count - first);
    resident_->store(first, std::span(batch.pixels).first(batch.pixels.size() / batch.labels.size() * size_t(n)));
    resident_labels_.insert(resident_labels_.end(), batch.labels.begin(), batch.labels.begin() + n);
    if (!settings.progress("images loaded", first + n, count)) throw LoadingStopped{};
  }
}

void Reals::seek(DataPosition position, BatchRows rows) {
  loaded_ = rows;
  loader_ ? loader_->seek(position, rows) : order_.seek(position);
}

// An epoch has every item once.
void Reals::each(const char* what, const std::function<void()>& shown) {
  const DataPosition before = position();
  const int64_t shown_before = shown_, batch = items_.count();
  seek({}, {});
  for (int64_t done = 0; done < count_; done += batch) {
    next();
    shown();
    if (!progress_(what, std::min(done + batch, count_), count_)) throw LoadingStopped{};
  }
  seek(before, rows_);
  shown_ = shown_before;
}

void Reals::compute_features(const TrainOptions& options, Discriminator& d) {
  const NoGrad no_grad;
  d.settle();
  const Objective& objective = objective_of(options.model);
  const int64_t batch = items_.count(), at_once = options.batch_gpu;
  const auto room = [&](int64_t n) { return Tensor::empty(d.features_shape(n), d.features_type(), d.device()); };
  all_features_ = room(count_);
  each("features computed", [&] {
    for (int64_t i = 0; i < batch; i += at_once)
      copy_rows(all_features_, d.features(objective.reals(slice(images(), 0, i, i + at_once))),
                items_.as<int32_t>() + i, nullptr, at_once);
  });
  features_ = room(batch);
}

void Reals::next() {
  std::vector<int32_t> items;
  std::vector<int> classes;
  if (loader_) {
    Batch batch = loader_->next();
    staged_->put(batch.pixels, loaded_.first);
    items.assign(batch.items.begin(), batch.items.end());
    classes = std::move(batch.labels);
  } else {
    for (int64_t i = 0; i < items_.count(); ++i) {
      items.push_back(static_cast<int32_t>(order_.next()));
      classes.push_back(resident_labels_[size_t(items.back()) % resident_labels_.size()]);
    }
  }
  shown_ += items_.count();
  items_.put(items);
  if (resident_) resident_->put(items_);
  labels_.put(classes);
  if (features_.defined()) copy_rows(features_, all_features_, nullptr, items_.as<int32_t>(), items_.count());
}

GeneratedLabels::GeneratedLabels(int64_t n, int classes, std::function<int(Rng&)> draw, const Device& device)
    : n_(n), draw_(std::move(draw)), labels_(n, classes, device) {
  if (!draw_) draw_ = [classes](Rng& rng) { return static_cast<int>(rng.integer(0, classes)); };
}

void GeneratedLabels::refresh(Rng& rng) {
  if (!labels().defined()) return;
  std::vector<int> classes(static_cast<size_t>(n_));
  for (int& c : classes) c = draw_(rng);
  labels_.put(classes);
}

}  // namespace firn
