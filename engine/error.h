// Every failure that a user can cause is an Error with one clear line. Tools print what() and exit 1;
// `where` is for developers and is not part of the message.
#pragma once
#include <fmt/core.h>

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

struct ShapeError : Error { using Error::Error; };   // operands of an op do not fit together
struct DeviceError : Error { using Error::Error; };  // no such device, out of memory, a failed launch
struct IoError : Error { using Error::Error; };      // a file that is missing, broken, hostile or unwritable
struct ConfigError : Error { using Error::Error; };  // options that contradict each other or the model

}  // namespace firn
