#include "engine/device.h"

#include <charconv>
#include <cstdio>

#include "base/error.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/planning.h"
#include "kernels/device/memory.h"

namespace firn {

Device Device::cuda(int index) { return Device(kernels::cuda_stream(index), fmt::format("cuda:{}", index)); }

Device Device::dry() { return Device(kernels::dry_stream(), "a dry run"); }

Device Device::with(const Precision& p) const {
  kernels::Numerics n = kernels::numerics(stream_);
  n.tf32 = p.tf32 || p.activations == DType::bf16;
  n.deterministic = p.deterministic;
  return Device(kernels::with(stream_, n), name_);
}

Device Device::best() {
  if (kernels::cuda_device_count() > 0) return cuda(0);
  static std::string said;  // once
  if (const std::string why = kernels::why_no_gpu(); !why.empty() && why != said)
    std::fputs(fmt::format("warning: {}; until then the CPU does the work\n", said = why).c_str(), stderr);
  return cpu();
}

Device Device::from_name(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "auto") return best();
  if (name == "cuda") return cuda(0);
  if (name.starts_with("cuda:")) {
    const std::string_view digits = name.substr(5);
    int index = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0) return cuda(index);
  }
  throw ConfigError(fmt::format("device '{}': expected auto, cpu, cuda or cuda:N", name));
}

}  // namespace firn
