#include "engine/threads.h"

#include <omp.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"

namespace firn {

void set_threads(int count) {
  constexpr int most = 1024;
  if (count > most) throw ConfigError(fmt::format("{} threads are more than the {} that make sense", count, most));
  omp_set_num_threads(count > 0 ? count : omp_get_num_procs());
}
int threads() { return omp_get_max_threads(); }

void wait_politely(char** argv) {
  setenv("OPENBLAS_NUM_THREADS", "1", 0);  // which metrics call from threads of ours
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "50000", 1);
  execv("/proc/self/exe", argv);  // returns only where it failed; then the run goes on as it is
}

}  // namespace firn
