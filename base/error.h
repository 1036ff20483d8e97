// Every failure that a user can cause is an Error with one clear line. Tools print what() and exit 1;
// `where` is for developers and is not part of the message.
#pragma once
#ifndef __CUDACC__  // nvcc cannot compile fmt 9; device code formats nothing
#include <fmt/core.h>
#endif

#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>

namespace firn {

struct Error : std::runtime_error {
  std::source_location where;
  explicit Error(const std::string& message, std::source_location at = std::source_location::current())
      : std::runtime_error(message), where(at) {}
};

// The constructors are spelled out: nvcc 13.0 cannot inherit ones with a source_location.
struct ShapeError : Error {  // operands of an op do not fit together
  explicit ShapeError(const std::string& message, std::source_location at = std::source_location::current())
      : Error(message, at) {}
};
struct DeviceError : Error {  // no such device, out of memory, a failed launch
  explicit DeviceError(const std::string& message, std::source_location at = std::source_location::current())
      : Error(message, at) {}
};
struct OutOfMemory : DeviceError {  // no fault: something smaller may work
  explicit OutOfMemory(const std::string& message, std::source_location at = std::source_location::current())
      : DeviceError(message, at) {}
};
struct DeviceLost : DeviceError {  // after a fault a process can do nothing more with the GPU
  std::string fault;
  bool named = false;  // the message says in what
  DeviceLost(const std::string& what_happened, const std::string& what_to_do,
             std::source_location at = std::source_location::current())
      : DeviceError(what_happened + "; " + what_to_do, at), fault(what_happened) {}
};
struct IoError : Error {  // a file that is missing, broken, hostile or unwritable
  explicit IoError(const std::string& message, std::source_location at = std::source_location::current())
      : Error(message, at) {}
};
struct SystemError : IoError {  // reading or writing failed, whatever the file holds: never a reason to skip it
  explicit SystemError(const std::string& message, std::source_location at = std::source_location::current())
      : IoError(message, at) {}
};
struct ConfigError : Error {  // options that contradict each other or the model
  explicit ConfigError(const std::string& message, std::source_location at = std::source_location::current())
      : Error(message, at) {}
};

}  // namespace firn
