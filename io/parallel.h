// One loop over several threads, each item once, in no order. The first exception ends the loop and is thrown.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace firn {

// `grain`: items that are worth a thread.
void for_each_in_parallel(size_t count, size_t grain, const auto& body) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i; (i = next++) < count;) try {
        body(i);
      } catch (...) {
        next = count;
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
  };
  const size_t threads = std::min<size_t>({8, std::max(1u, std::thread::hardware_concurrency()), count / grain + 1});
  {
    std::vector<std::jthread> others;
    for (size_t t = 1; t < threads; ++t) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace firn
