// How many threads run the CPU's kernels, and how they wait for each other.
#pragma once

namespace firn {

void set_threads(int count);  // 0: one a core
int threads();

// Call first in main. OpenMP's threads spin for about 20 ms before they sleep, which makes a run several times slower
// wherever another program wants the same cores; a few milliseconds cost nothing where none does. The runtime reads its
// settings before main, so this starts the program anew with shorter spins, unless the user has chosen (GOMP_SPINCOUNT,
// OMP_WAIT_POLICY).
void wait_politely(char** argv);

}  // namespace firn
