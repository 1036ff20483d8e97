#include "training/run/rehearsal.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "engine/threads.h"
#include "kernels/choice/provider_choice.h"
#include "kernels/conv/planning.h"
#include "kernels/device/memory.h"
#include "training/run/sheets.h"
#include "training/step/iteration.h"

namespace firn {
namespace {

constexpr int kRecorded = 3;  // runs until a phase is recorded

void run_phases(const TrainOptions& o, const Device& device, const Dataset& data) {
  TrainState state(o, device);
  Reals reals(o, state);
  {
    Iteration iteration(o, state, &data, reals);
    for (int i = 0; i < (device.stream().dry ? 1 : kRecorded); ++i)
      for (size_t phase = 0; phase < iteration.phases().size(); ++phase)
        if (iteration.phases()[phase].interval > 0) iteration.run_phase(phase, 1);
    state.count_repaired();  // waits for the device
  }
  // A sheet: full batches and what is left of one.
  const NoGrad no_grad;
  const Generator& g = state.sampled();
  const SheetLayout sheet = sheet_layout(o, device);
  const int n = sheet.columns * sheet.rows, batch = SampleOptions{}.batch;
  const std::vector<int> labels(size_t(n), 0);
  const Code codes = g.code(randn({n, g.z_dim()}, state.rng, g.type(), state.device()),
                            class_labels(labels, g.classes(), state.device()));
  sample(
      g, n < batch ? n : batch + n % batch, [&](int64_t i) { return slice(codes, i, i + 1); }, {},
      [](const Tensor& images) { images.to_floats(); });
}

// The rehearsal under way, with the time since it began.
class Account {
 public:
  explicit Account(const std::function<void(const Rehearsal&)>& progress) : progress_(progress) {}
  Rehearsal so_far() {
    state.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    return state;
  }
  void tell() {
    if (progress_) progress_(so_far());
  }
  // Where: a GPU's stream, or its description.
  template <class Where>
  void plan(const Where& where, const TrainOptions& options, const Dataset& data) {
    run_phases(options, Device::dry(), data);
    const auto note = [&](const kernels::PlanCount& count) {
      state.to_plan = count.missing;
      state.planned = count.done;
      tell();
    };
    note(kernels::plan_noted(where, threads(), note));
  }
  Rehearsal state;

 private:
  const std::function<void(const Rehearsal&)>& progress_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Rehearsal rehearse(const TrainOptions& options, const Device& device, const Dataset& data,
                   const std::function<void(const Rehearsal&)>& progress) {
  Account account(progress);
  try {
    if (device.is_cuda()) account.plan(device_for(options, device).stream(), options, data);
  } catch (const DeviceLost&) {
    throw;
  } catch (const DeviceError& e) {
    account.state.warning = e.what();
  }
  const kernels::ChoiceWatch watch([&](int operations) {
    account.state.operations = operations;
    account.tell();
  });
  try {
    run_phases(options, device, data);
  } catch (const OutOfMemory&) {
    account.state.complete = false;
  }
  kernels::trim(device.stream());
  kernels::reset_peak();
  account.state.operations = watch.operations();
  return account.so_far();
}

Rehearsal plan_for(const std::string& gpu_description, const TrainOptions& options, const Dataset& data,
                   const std::function<void(const Rehearsal&)>& progress) {
  Account account(progress);
  account.plan(gpu_description, options, data);
  return account.so_far();
}

}  // namespace firn
