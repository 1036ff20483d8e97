#include "io/loader.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "io/image_source.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

// A set in memory; entries marked broken pass the header probe and fail when they are decoded.
class MemorySource : public ImageSource {
 public:
  MemorySource(int images, const std::set<int>& broken) : ImageSource("memory") {
    for (int i = 0; i < images; ++i) {
      entries_.push_back({fmt::format("{}/{:04}.png", i % 2 ? "odd" : "even", i), ""});
      auto png = encode_png(Image(2, 2, 1, uint8_t(i)));
      if (broken.contains(i)) png = without_end(png, 20);
      files_[entries_.back().name] = std::move(png);
    }
    sort_entries();
  }

 protected:
  std::vector<std::byte> read_entry(int64_t entry, int64_t limit) const override {
    auto bytes = files_.at(entries_[size_t(entry)].name);
    if (int64_t(bytes.size()) > limit) bytes.resize(size_t(limit));
    return bytes;
  }

 private:
  std::map<std::string, std::vector<std::byte>> files_;
};

std::shared_ptr<const Dataset> memory_set(int images, const std::set<int>& broken = {}) {
  return std::make_shared<Dataset>(std::make_unique<MemorySource>(images, broken), DatasetOptions{});
}

// The images of a batch by their grey value.
std::vector<int> values(const Batch& batch) {
  std::vector<int> out;
  for (size_t i = 0; i < batch.pixels.size(); i += 4) out.push_back(batch.pixels[i]);
  return out;
}

std::vector<int> sequence(Loader& loader, int batches) {
  std::vector<int> all;
  for (int i = 0; i < batches; ++i)
    for (int v : values(loader.next())) all.push_back(v);
  return all;
}

TEST(Loader, EveryEpochIsAPermutation) {
  Loader loader(memory_set(10), {.batch = 5, .seed = 1});
  std::vector<std::vector<int>> epochs;
  for (int e = 0; e < 3; ++e) {
    auto epoch = sequence(loader, 2);
    epochs.push_back(epoch);
    std::sort(epoch.begin(), epoch.end());
    for (int i = 0; i < 10; ++i) EXPECT_EQ(epoch[size_t(i)], i);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Loader, LabelsBelongToTheirPixels) {
  Loader loader(memory_set(20), {.batch = 8});
  const Batch batch = loader.next();
  ASSERT_EQ(batch.pixels.size(), 8u * 4);
  const auto grey = values(batch);
  for (size_t i = 0; i < 8; ++i) {
    for (size_t k = 0; k < 4; ++k) EXPECT_EQ(batch.pixels[4 * i + k], grey[i]);
    EXPECT_EQ(batch.labels[i], grey[i] % 2);
  }
}

TEST(Loader, SequenceDoesNotDependOnThreads) {
  const auto set = memory_set(13);
  Loader one(set, {.batch = 4, .seed = 7, .threads = 1, .prefetch = 1});
  Loader many(set, {.batch = 4, .seed = 7, .threads = 4, .prefetch = 9});
  EXPECT_EQ(sequence(one, 30), sequence(many, 30));
}

TEST(Loader, SeekContinuesExactly) {
  const auto set = memory_set(13);
  Loader first(set, {.batch = 4, .seed = 7, .threads = 2});
  sequence(first, 11);
  const DataPosition position = first.position();
  EXPECT_EQ(position, (DataPosition{.epoch = 3, .index = 5}));
  const auto rest = sequence(first, 9);

  Loader resumed(set, {.batch = 4, .seed = 7, .threads = 3});
  resumed.next();
  resumed.seek(position);
  EXPECT_EQ(resumed.position(), position);
  EXPECT_EQ(sequence(resumed, 9), rest);
}

TEST(Loader, HandsOutTheOrderWithoutPixels) {
  Loader loader(memory_set(13), {.batch = 4, .seed = 7, .threads = 2});
  ItemOrder order(13, 7);
  const auto expect_same = [&](int batches) {
    for (int i = 0; i < batches; ++i) {
      const Batch batch = loader.next();
      for (const int64_t item : batch.items) EXPECT_EQ(item, order.next());
      EXPECT_EQ(loader.position(), order.position());
    }
  };
  expect_same(11);
  loader.seek({.epoch = 2, .index = 9});
  order.seek({.epoch = 2, .index = 9});
  expect_same(9);
}

TEST(Loader, UnshuffledItemsComeByNumber) {
  Loader loader(memory_set(5), {.batch = 4, .shuffle = false, .threads = 2});
  EXPECT_EQ(loader.next().items, (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(loader.next().items, (std::vector<int64_t>{4, 0, 1, 2}));
}

TEST(Loader, SeekOutsideOfTheSetIsRefused) {
  Loader loader(memory_set(13), {.batch = 4});
  EXPECT_THROW(loader.seek({.epoch = 0, .index = 13}), ConfigError);
  EXPECT_THROW(loader.seek({.epoch = -1, .index = 0}), ConfigError);
}

TEST(Loader, RowsOfABatchAreThoseOfTheWholeOne) {
  const auto set = memory_set(12);
  Loader whole(set, {.batch = 5, .seed = 3}), some(set, {.batch = 5, .seed = 3});
  some.seek({}, {.first = 1, .last = 3});
  for (int step = 0; step < 6; ++step) {
    const Batch all = whole.next(), part = some.next();
    EXPECT_EQ(part.items, all.items);
    EXPECT_EQ(part.labels, all.labels);
    const auto image = std::ptrdiff_t(all.pixels.size() / 5);
    EXPECT_EQ(part.pixels, std::vector<uint8_t>(all.pixels.begin() + image, all.pixels.begin() + 3 * image));
    EXPECT_EQ(whole.position(), some.position());
  }
  EXPECT_THROW(some.seek({}, {.first = 5}), ConfigError);
  EXPECT_THROW(some.seek({}, {.first = 3, .last = 3}), ConfigError);
}

TEST(Loader, BrokenImageIsReplacedByTheNextGoodOneAndReported) {
  const auto set = memory_set(8, {2, 4});  // in file order: 0 2 4 6 1 3 5 7
  Loader loader(set, {.batch = 8, .threads = 3});
  auto epoch = sequence(loader, 1);
  std::sort(epoch.begin(), epoch.end());
  EXPECT_EQ(epoch, (std::vector<int>{0, 1, 3, 5, 6, 6, 6, 7}));
  EXPECT_EQ(set->bad_images().size(), 2u);
}

TEST(Loader, SetWithNoGoodImageIsAnErrorInNext) {
  EXPECT_MENTIONS(message_of([] { memory_set(2, {0, 1}); }), "none of its 2 images can be read");
  Scratch dir;
  std::vector<std::byte> png = encode_png(Image(8, 8, 1, 3));
  put(dir / "a.png", png);
  const auto set = std::make_shared<Dataset>(DatasetOptions{.path = dir.path()});
  png.resize(png.size() - 20);  // it breaks under a run
  put(dir / "a.png", png);
  Loader loader(set, {.batch = 1});
  EXPECT_MENTIONS(message_of([&] { loader.next(); }), "truncated PNG");
  EXPECT_THROW(loader.next(), IoError);
}

TEST(Loader, UnusedLoaderShutsDown) {
  for (int i = 0; i < 20; ++i) Loader(memory_set(5), {.batch = 3, .threads = 3, .prefetch = 2});
}

TEST(Loader, SenselessOptionsAreRefused) { EXPECT_THROW(Loader(memory_set(2), {.batch = 0}), ConfigError); }

}  // namespace
}  // namespace firn
