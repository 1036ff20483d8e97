#include "training/rehearsal.h"

#include <algorithm>
#include <chrono>

#include "kernels/error.h"
#include "kernels/memory.h"
#include "kernels/provider_choice.h"
#include "training/iteration.h"
#include "training/sampling.h"

namespace firn {
namespace {

constexpr int kRecorded = 3;  // runs until a phase is recorded

void run_phases(TrainOptions o, const Device& device, const Dataset& data) {
  o.loss.g_reg_interval = std::min(o.loss.g_reg_interval, 1);
  o.loss.d_reg_interval = std::min(o.loss.d_reg_interval, 1);
  TrainState state(o, device);
  Reals reals(o, state);
  {
    Iteration iteration(o, state, data, reals);
    for (int i = 0; i < kRecorded; ++i) iteration.run();
    state.count_repaired();  // waits for the device
  }
  // A sheet: full batches and what is left of one.
  const SheetLayout sheet = sheet_layout(o, device);
  const int n = sheet.columns * sheet.rows, batch = SampleOptions{}.batch;
  const std::vector<int> labels(size_t(n), 0);
  const Tensor z = randn({n, o.model.z_dim}, state.rng, o.model.type, device);
  const Tensor ws = styles(state.ema, z, one_hot(labels, o.model.c_dim, o.model.type, device), {});
  synthesize(
      state.ema, n < batch ? n : batch + n % batch, [&](int64_t i) { return slice(ws, 0, i, i + 1); }, {},
      [](const Tensor& images) { images.to_floats(); });
}

}  // namespace

Rehearsal rehearse(const TrainOptions& options, const Device& device, const Dataset& data,
                   const std::function<void(int, double)>& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  const kernels::ChoiceWatch watch([&](int operations) {
    if (progress) progress(operations, seconds());
  });
  Rehearsal result;
  try {
    run_phases(options, device, data);
  } catch (const OutOfMemory&) {
    result.complete = false;
  }
  kernels::trim(device.stream());
  kernels::reset_peak();
  result.operations = watch.operations();
  result.seconds = seconds();
  return result;
}

}  // namespace firn
