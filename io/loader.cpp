#include "io/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace firn {
namespace {

constexpr int64_t cache_limit = int64_t{1} << 30;

struct Item {
  Image image;
  int label = -1;
  std::exception_ptr error = nullptr;  // kept here because std::call_once may hang when its function throws
};

// Decoded items; a set that fits in memory is decoded once.
class ItemCache {
 public:
  explicit ItemCache(std::shared_ptr<const Dataset> dataset) : dataset_(std::move(dataset)) {
    const int64_t bytes = int64_t(dataset_->width()) * dataset_->height() * dataset_->channels();
    if (dataset_->size() <= cache_limit / bytes) {
      once_ = std::vector<std::once_flag>(size_t(dataset_->size()));
      items_.resize(size_t(dataset_->size()));
    }
  }

  void use(int64_t i, const auto& consume) {
    const auto use_item = [&](const Item& item) {
      if (item.error) std::rethrow_exception(item.error);
      consume(item);
    };
    if (items_.empty()) return use_item(decode(i));
    std::call_once(once_[size_t(i)], [&] { items_[size_t(i)] = decode(i); });
    use_item(items_[size_t(i)]);
  }

 private:
  Item decode(int64_t i) const {
    Item item;
    const int64_t n = dataset_->size();
    for (int64_t k = 0; k < n; ++k) try {
        const int64_t j = (i + k) % n;
        return {dataset_->load(j), dataset_->label(j)};
      } catch (const SystemError&) {
        return {{}, -1, std::current_exception()};
      } catch (const IoError&) {  // remembered by the data set
        item.error = std::current_exception();
      } catch (...) {
        return {{}, -1, std::current_exception()};
      }
    return item;
  }

  std::shared_ptr<const Dataset> dataset_;
  std::vector<std::once_flag> once_;
  std::vector<Item> items_;
};

}  // namespace

// Workers take numbered orders (which items make the batch) in sequence and deliver into `ready`; next() takes from
// there in the same sequence. seek() starts a new generation, and deliveries of older ones are dropped.
struct Loader::State {
  struct Order {
    int64_t number, generation;
    std::vector<int64_t> items;
    DataPosition end;
    BatchRows rows;
  };
  struct Delivery {
    Batch batch;
    DataPosition end;
    std::exception_ptr error;
  };

  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  ItemCache cache;

  std::mutex mutex;
  std::condition_variable_any order_wanted, delivered;
  std::map<int64_t, Delivery> ready;
  std::exception_ptr failure;  // of a worker that ended
  int64_t ordered = 0, consumed = 0, generation = 0;
  ItemOrder sequence;
  DataPosition position;
  BatchRows rows;
  std::vector<std::jthread> workers;  // last: stopped and joined before the rest goes

  State(std::shared_ptr<const Dataset> d, LoaderOptions o)
      : dataset(d), options(o), cache(d), sequence(d->size(), o.seed, o.shuffle) {
    for (int t = 0; t < options.threads; ++t) workers.emplace_back([this](std::stop_token stop) { work(stop); });
  }

  Order next_order() {
    Order order{ordered++, generation, {}, {}, {}};
    order.rows = rows;
    for (int i = 0; i < options.batch; ++i) order.items.push_back(sequence.next());
    order.end = sequence.position();
    return order;
  }

  Delivery deliver(const Order& order) try {
    Delivery delivery;
    delivery.batch.items = order.items;
    delivery.end = order.end;
    std::vector<uint8_t>& pixels = delivery.batch.pixels;
    const int first = order.rows.first, last = std::min(order.rows.last, options.batch);
    pixels.reserve(size_t(last - first) * size_t(dataset->width()) * size_t(dataset->height()) *
                   size_t(dataset->channels()));
    for (int row = 0; row < options.batch; ++row) {
      const int64_t i = order.items[size_t(row)];
      if (row < first || row >= last)
        delivery.batch.labels.push_back(dataset->label(i));
      else
        cache.use(i, [&](const Item& item) {
          pixels.insert(pixels.end(), item.image.pixels.begin(), item.image.pixels.end());
          delivery.batch.labels.push_back(item.label);
        });
    }
    return delivery;
  } catch (const std::bad_alloc&) {
    return {{}, {}, std::make_exception_ptr(Error("out of memory for batches of images that are decoded ahead"))};
  } catch (const Error&) {
    return {{}, {}, std::current_exception()};
  } catch (const std::exception& e) {
    return {{}, {}, std::make_exception_ptr(Error(fmt::format("cannot load a batch: {}", e.what())))};
  }

  void work(std::stop_token stop) try {
    std::unique_lock lock(mutex);
    while (order_wanted.wait(lock, stop, [&] { return ordered - consumed < options.prefetch; })) {
      const Order order = next_order();
      lock.unlock();
      Delivery delivery = deliver(order);
      lock.lock();
      if (order.generation != generation) continue;
      ready.emplace(order.number, std::move(delivery));
      delivered.notify_one();
    }
  } catch (const std::exception&) {  // no memory even for an order or a place
    const std::lock_guard lock(mutex);
    failure = std::current_exception();
    delivered.notify_all();
  }
};

int64_t ItemOrder::next() {
  if (shuffle_ && position_.epoch != epoch_) {
    epoch_ = position_.epoch;
    items_ = Dataset::epoch_order(size_, seed_, epoch_);
  }
  const int64_t item = shuffle_ ? items_[size_t(position_.index)] : position_.index;
  if (++position_.index == size_) position_ = {.epoch = position_.epoch + 1, .index = 0};
  return item;
}

void ItemOrder::seek(DataPosition position) {
  if (position.epoch < 0 || position.index < 0 || position.index >= size_)
    throw ConfigError(fmt::format("Loader: no position {} in epoch {} of a set of {}; was the set another one?",
                                  position.index, position.epoch, size_));
  position_ = position;
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) {
  if (!dataset || options.batch < 1 || options.threads < 1 || options.prefetch < 1)
    throw ConfigError(fmt::format("Loader: a batch of {}, {} threads and prefetch of {} make no sense", options.batch,
                                  options.threads, options.prefetch));
  state_ = std::make_unique<State>(std::move(dataset), options);
}

Loader::~Loader() = default;

Batch Loader::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.delivered.wait(lock, [&] { return s.failure || s.ready.contains(s.consumed); });
  if (s.failure) std::rethrow_exception(s.failure);
  const auto found = s.ready.find(s.consumed);
  if (found->second.error) std::rethrow_exception(found->second.error);
  Batch batch = std::move(found->second.batch);
  s.position = found->second.end;
  s.ready.erase(found);
  ++s.consumed;
  s.order_wanted.notify_one();
  return batch;
}

DataPosition Loader::position() const {
  const std::lock_guard lock(state_->mutex);
  return state_->position;
}

void Loader::seek(DataPosition position, BatchRows rows) {
  State& s = *state_;
  if (rows.first < 0 || rows.first >= std::min(rows.last, s.options.batch))
    throw ConfigError(
        fmt::format("Loader: there are no rows from {} on in a batch of {}", rows.first, s.options.batch));
  const std::lock_guard lock(s.mutex);
  s.sequence.seek(position);
  s.rows = rows;
  s.ready.clear();
  ++s.generation;
  s.ordered = s.consumed = 0;
  s.position = position;
  s.order_wanted.notify_all();
}

}  // namespace firn
