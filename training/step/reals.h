// The reals of each iteration: images, labels and, where the front of D is frozen, what it makes of them. A set that
// fits is decoded once and stays in device memory, as features do; an iteration then puts only numbers there.
#pragma once
#include <functional>
#include <optional>

#include "training/step/feed.h"
#include "training/step/phase.h"

namespace firn {

// Where images wait. shards: a part of them on the device of each process. automatic: the device if it is a GPU with
// room, or shards if each part has.
enum class DataMemory { automatic, host, device, shards };

struct RealsPlan {       // bytes
  int64_t images = 0;    // on the device; 0: batches are loaded as they come
  int64_t features = 0;  // of all items; 0: they are not kept
  bool sharded = false;  // `images` is this process's part
};

// ConfigError when features are to be kept and cannot be, or when there is too little memory. Of `processes` the first
// one's plan counts: others give the DataMemory that it came to.
RealsPlan plan_reals(const TrainOptions& options, const Discriminator& d, const Dataset& dataset, DataMemory memory,
                     int processes = 1);

struct RealsSettings {
  RealsPlan plan;
  int workers = 1;                     // threads that decode images
  Communicator* processes = &alone();  // each has the rows of a batch that it works on
  // Told while images are loaded and features computed; false: stop, by throwing LoadingStopped.
  std::function<bool(const char* what, int64_t done, int64_t total)> progress = [](const char*, int64_t, int64_t) {
    return true;
  };
};
struct LoadingStopped {};

class Reals {
 public:
  // Fills the memory that is planned, and takes up at state.data. The frozen tensors of D must be what they will be.
  // Where it is shards, all processes do this and each next() together.
  Reals(const TrainOptions& options, const TrainState& state, std::shared_ptr<const Dataset> dataset,
        const RealsSettings& settings);
  // One batch of noise, over and over, in place of a data set.
  Reals(const TrainOptions& options, const TrainState& state);

  void next();
  // Shows batches until every item was among them, of which progress is told as `what`, and takes up again where it
  // was: for what is kept of them. Throws LoadingStopped.
  void each(const char* what, const std::function<void()>& shown);
  int64_t items_in_all() const { return count_; }  // a mirrored one being another
  // Of the batch; always the same tensors. Of the images perhaps only this process's rows, but within each().
  const Tensor& images() const {
    return resident_ ? resident_->images() : sharded_ ? sharded_->images() : staged_->images();
  }
  const Tensor& labels() const { return labels_.labels(); }
  const Tensor& items() const { return items_; }        // [batch] i32: their numbers in the data
  const Tensor& features() const { return features_; }  // undefined: they are not kept
  int64_t shown() const { return shown_; }              // images, so far
  int64_t batch() const { return items_.count(); }
  DataPosition position() const { return loader_ ? loader_->position() : order_.position(); }  // of the next batch

 private:
  // Those from `first` on, below `last`.
  void load_images(Leaves numbers, Loader loader, const RealsSettings& settings, const auto& store);
  void share_labels(Communicator& processes);
  void compute_features(const TrainOptions& options, Discriminator& d);
  void seek(DataPosition position, bool whole_batches);

  int64_t count_, shown_ = 0;
  std::vector<Leaves> rows_;     // of a batch that each process works on
  std::vector<Leaves> present_;  // that each has now
  int rank_ = 0;                 // of this one
  decltype(RealsSettings::progress) progress_;
  std::optional<Loader> loader_;  // batches that are loaded as they come
  std::optional<ImageFeed> staged_;
  ItemOrder order_;  // or of a set on devices
  std::optional<ResidentImages> resident_;
  std::optional<ShardedImages> sharded_;
  std::vector<int> resident_labels_;
  Tensor items_;  // [batch] i32
  LabelFeed labels_;
  Tensor all_features_, features_;
};

// The next batch of reals, for the first phase that reads them.
class RealsFeed : public Feed {
 public:
  explicit RealsFeed(Reals* reals) : reals_(reals) {}
  void refresh(Rng&) override { reals_->next(); }
  int64_t reals() const override { return reals_->batch(); }

 private:
  Reals* reals_;
};

// Labels of generated images.
class GeneratedLabels : public Feed {
 public:
  // Classes that `draw` gives; unset: all are equally likely.
  GeneratedLabels(int64_t n, int classes, std::function<int(Rng&)> draw, const Device& device);
  const Tensor& labels() const { return labels_.labels(); }  // [n] i32; undefined without classes
  void refresh(Rng& rng) override;

 private:
  int64_t n_;
  std::function<int(Rng&)> draw_;
  LabelFeed labels_;
};

}  // namespace firn
