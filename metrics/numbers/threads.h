// A loop over OpenMP's threads whose body may throw: an exception that left OpenMP's own would end the process.
#pragma once
#include <cstdint>
#include <exception>

namespace firn {

// body(i) for each i < count, in no order; the first exception is thrown when all have ended.
template <class Body>
void for_each_on_threads(int64_t count, Body body) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < count; ++i) try {
      body(i);
    } catch (...) {
#pragma omp critical(firn_first_failure)
      if (!failure) failure = std::current_exception();
    }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace firn
