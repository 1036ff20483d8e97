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

RealsPlan plan_reals(const TrainOptions& options, const Discriminator& d, const Dataset& dataset, DataMemory memory,
                     int processes) {
  RealsPlan plan;
  const bool on_gpu = d.device().is_cuda();
  const auto available = static_cast<int64_t>(kernels::available_memory(d.device().stream()));
  const auto require = [&](const char* option, const char* what) {
    constexpr double gb = 1 << 30;
    if (plan.images + plan.features > available / 4 * 3)  // training needs the rest
      throw ConfigError(fmt::format("{}: {:.2f} GB for {} do not fit in three quarters of the {:.2f} GB that are free",
                                    option, double(plan.images + plan.features) / gb, what, double(available) / gb));
  };
  const int64_t image = dataset.width() * dataset.height() * dataset.channels(), images = dataset.stored() * image;
  const int64_t shard = share_of(dataset.stored(), processes - 1, processes).count() * image;  // the largest
  if (options.cache_features) {
    plan.features = count(d.features_shape(dataset.size())) * static_cast<int64_t>(size_of(d.features_type()));
    require("--cache-features", "the features");
  }
  const int64_t quarter = on_gpu ? (available - plan.features) / 4 : 0;
  if (memory == DataMemory::device || (memory == DataMemory::automatic && images <= quarter)) {
    plan.images = images;
    if (memory == DataMemory::device) require("--data-memory device", "images and features");
  } else if (memory == DataMemory::shards || (memory == DataMemory::automatic && shard <= quarter)) {
    plan.images = shard;
    plan.sharded = true;
    if (memory == DataMemory::shards)
      require("--data-memory shards (host needs none)", "a process's part of the images and features");
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
  Communicator& processes = *settings.processes;
  rank_ = processes.rank();
  for (int r = 0; r < processes.size(); ++r)
    rows_.push_back(rows_of(options.batch, options.batch_gpu, r, processes.size()));
  LoaderOptions loading{.batch = options.batch, .seed = options.seed, .threads = settings.workers};
  if (plan.images > 0 && plan.sharded) {
    sharded_.emplace(batch, dataset->stored(), options.model.type(), state.device(), processes);
    loading.shuffle = false;
    load_images(sharded_->own(), Loader(dataset, loading), settings,
                [&](int64_t first, std::span<const uint8_t> pixels) { sharded_->store(first, pixels); });
    share_labels(processes);
  } else if (plan.images > 0) {
    resident_.emplace(batch, dataset->stored(), options.model.type(), state.device());
    loading.shuffle = false;
    load_images({0, dataset->stored()}, Loader(dataset, loading), settings,
                [&](int64_t first, std::span<const uint8_t> pixels) { resident_->store(first, pixels); });
  } else {
    staged_.emplace(batch, options.model.type(), state.device());
    loader_.emplace(dataset, loading);
  }
  seek(state.data, false);
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
void Reals::load_images(Leaves numbers, Loader loader, const RealsSettings& settings, const auto& store) {
  loader.seek({.index = numbers.first});
  while (std::ssize(resident_labels_) < numbers.count()) {
    const Batch batch = loader.next();
    const auto done = std::ssize(resident_labels_), n = std::min(std::ssize(batch.labels), numbers.count() - done);
    store(numbers.first + done, std::span(batch.pixels).first(batch.pixels.size() / batch.labels.size() * size_t(n)));
    resident_labels_.insert(resident_labels_.end(), batch.labels.begin(), batch.labels.begin() + n);
    if (!settings.progress("images loaded", done + n, numbers.count())) throw LoadingStopped{};
  }
}

// Of all processes, behind each other.
void Reals::share_labels(Communicator& processes) {
  const std::span<const std::byte> own = std::as_bytes(std::span(resident_labels_));
  std::vector<int> all;
  for (const std::string& text : processes.gather({reinterpret_cast<const char*>(own.data()), own.size()})) {
    const size_t before = all.size();
    all.resize(before + text.size() / sizeof(int));
    std::ranges::copy(text, reinterpret_cast<char*>(all.data() + before));
  }
  resident_labels_ = std::move(all);
}

void Reals::seek(DataPosition position, bool whole_batches) {
  present_.assign(rows_.size(), {0, items_.count()});
  if (!whole_batches) present_ = rows_;
  if (!loader_) return order_.seek(position);
  loader_->seek(position, {int(present_[size_t(rank_)].first), int(present_[size_t(rank_)].last)});
}

// An epoch has every item once.
void Reals::each(const char* what, const std::function<void()>& shown) {
  const DataPosition before = position();
  const int64_t shown_before = shown_, batch = items_.count();
  seek({}, true);
  for (int64_t done = 0; done < count_; done += batch) {
    next();
    shown();
    if (!progress_(what, std::min(done + batch, count_), count_)) throw LoadingStopped{};
  }
  seek(before, false);
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
    staged_->put(batch.pixels, present_[size_t(rank_)].first);
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
  if (sharded_) sharded_->put(items, present_);
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
