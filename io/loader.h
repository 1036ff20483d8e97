// Endless batches of a data set, decoded ahead by worker threads. The sequence depends only on the seed and
// the position, never on the number of threads, so a resumed run sees exactly the batches that it would have seen.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "io/dataset.h"

namespace firn {

struct BatchRows {
  int first = 0, last = std::numeric_limits<int>::max();  // those from first on, below last
};

struct Batch {
  std::vector<int64_t> items;   // [batch], of the data set
  std::vector<uint8_t> pixels;  // [rows, height, width, channels]: those that were asked for
  std::vector<int> labels;      // [batch], -1: none
};

struct DataPosition {
  int64_t epoch = 0, index = 0;  // index: items of this epoch already used
  bool operator==(const DataPosition&) const = default;
};

// The endless order of a set's items. It depends only on the seed and the position.
class ItemOrder {
 public:
  // Shuffled anew each epoch, or by number.
  ItemOrder(int64_t size, uint64_t seed, bool shuffle = true) : size_(size), seed_(seed), shuffle_(shuffle) {}
  int64_t next();
  DataPosition position() const { return position_; }  // of what next() will return
  void seek(DataPosition position);                    // ConfigError outside of the set

 private:
  int64_t size_;
  uint64_t seed_;
  bool shuffle_;
  DataPosition position_;
  int64_t epoch_ = -1;
  std::vector<int64_t> items_;  // of epoch_
};

struct LoaderOptions {
  int batch = 1;  // items a batch
  uint64_t seed = 0;
  bool shuffle = true;
  int threads = 1;
  int prefetch = 4;  // batches decoded ahead
};

class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~Loader();

  // An image that turns out to be broken is replaced, with its label, by the next good one (see Dataset::bad_images);
  // an IoError when none is left. One that cannot be read ends it all with a SystemError.
  Batch next();

  DataPosition position() const;  // where the batch that next() will return begins
  // From now on only images of these rows of each batch are decoded: others are another process's.
  void seek(DataPosition position, BatchRows rows = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace firn
