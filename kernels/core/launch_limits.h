// What a launch on a GPU must keep to, said with the kernel's name where the driver would say "invalid argument".
#pragma once
#include <cstddef>
#include <cstdint>

namespace firn {

struct Stream;  // kernels/run.h

constexpr size_t kMostParameterBytes = 32764;  // with drivers from 530 on; 4096 before

// A grid of so many blocks; DeviceError beyond 2^31 - 1.
unsigned grid_of(const char* name, int64_t blocks);

// Lets a kernel's blocks have all the shared memory that the stream's GPU can give, set once a kernel and GPU: a
// limit lowered to one launch's need would be below what a recorded graph holds. DeviceError when `bytes` are more.
void allow_shared_memory(const Stream&, const void* kernel, const char* name, int64_t bytes);

}  // namespace firn
