// A fuzz target passes when the input is read or refused with a firn::Error; anything else that escapes is a finding.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"

namespace firn {

int read_or_refuse(const uint8_t* data, size_t size, auto&& read) {
  try {
    read(std::as_bytes(std::span(data, size)));
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace firn
