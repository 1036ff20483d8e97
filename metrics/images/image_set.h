// Sets of images that are measured: stored ones, and those that a generator makes.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/dataset.h"
#include "models/network.h"

namespace firn {

struct MeasuredImage {
  Image image;
  int label = -1;    // -1: none
  int64_t item = 0;  // number in the set
};

class ImageSet {
 public:
  virtual ~ImageSet() = default;
  virtual std::string name() const = 0;  // for people
  virtual int64_t size() const = 0;      // how many there are; INT64_MAX: as many as one likes
  virtual int classes() const = 0;       // 0: no labels
  virtual Image image(int64_t item) const = 0;
  // A hash of all that decides what read() gives; empty where that is not known, and nothing can be kept of it.
  virtual std::string content() const { return {}; }

  // The first `count` of a fixed order, all where there are fewer, some at a time. What cannot be read is left out. A
  // set that has fewer than `count` gives each once.
  virtual void read(int64_t count, const std::function<void(std::span<const MeasuredImage>)>& use) const = 0;
};

// In a drawn order, so that the first images are a sample of all.
std::unique_ptr<ImageSet> stored_images(std::shared_ptr<const Dataset> dataset, std::string name);

// z drawn from the seed; classes as often as `class_counts` says, all alike where it is empty. Pixels are cut off, not
// rounded, when they become bytes: (127.5 x + 128) as stylegan2-ada-pytorch makes them.
struct Generated {
  uint64_t seed = 0;
  std::vector<int64_t> class_counts = {};
  double truncation = 1;
  int64_t first = 0;  // number of the image that is read first
};
std::unique_ptr<ImageSet> generated_images(std::shared_ptr<const Generator> g, Generated options, std::string name);

}  // namespace firn
