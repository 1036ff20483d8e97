// A library to preload that makes the n-th call of one kind fail. From outside, by environment variables:
//   FIRN_FAULT_CALL=write FIRN_FAULT_AT=3 FIRN_FAULT_ERROR=ENOSPC FIRN_FAULT_UNDER=/scratch FIRN_FAULT_REPORT=FILE
// or from inside the process, by firn_fault_arm(), looked up with dlsym: symbols of a preloaded library are not linked.
#pragma once

namespace firn::faults {

// The kinds: open, read, list, write, sync, rename, link, unlink, truncate, mkdir, close, stat, thread; malloc stands
// for every way to allocate.
struct Fault {
  const char* call = nullptr;
  long at = 0;                  // counted from 1; 0: count only
  const char* error = nullptr;  // EIO, ENOSPC, ...; "short": half of what was asked for is read or written
  const char* under = nullptr;  // only files below this folder; null: all
  bool onward = false;          // all calls from `at` on (FIRN_FAULT_ONWARD=1)
};

// `firn_fault_arm`: from now on, counted anew. `firn_fault_count`: how many calls of the kind there were since.
using Arm = bool(const Fault&);  // false: no such kind or error
using Count = long();

}  // namespace firn::faults
