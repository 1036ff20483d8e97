// A training run small enough for a test: 8x8 images, a few channels, thousands of parameters.
#pragma once
#include "tests/io/io_support.h"
#include "tests/training/phase_support.h"
#include "training/run/trainer.h"
#include "training/state/snapshot.h"
#include "training/state/transfer.h"

namespace firn {

inline std::filesystem::path write_images(const std::filesystem::path& dir, int count, int size = 8, int channels = 3,
                                          int classes = 1) {
  for (int i = 0; i < count; ++i) {
    const std::filesystem::path folder = dir / fmt::format("class{}", i % classes);
    std::filesystem::create_directories(folder);
    save_png(folder / fmt::format("{:04}.png", i), pattern(size, size, channels, i));
  }
  return dir;
}

inline TrainOptions tiny_options(const std::filesystem::path& data, DType type = DType::f32) {
  TrainOptions o = options_of({.height = 8,
                               .z_dim = 8,
                               .w_dim = 8,
                               .channel_base = 64,
                               .channel_max = 8,
                               .mapping_layers = 1,
                               .mbstd_group = 2,
                               .type = type},
                              {.r1_gamma = 0.5, .g_reg_interval = 2, .d_reg_interval = 3});
  o.data = {.path = data, .use_labels = false};
  o.batch = o.batch_gpu = 4;
  o.ema_kimg = 0.05;
  o.ema_ramp = 0.5;
  o.kimg_per_tick = 0.012;
  o.kimg = 0.048;
  o.snap = 1;
  o.grid_columns = o.grid_rows = 2;
  return o;
}

// Trains `options` in a folder of `scratch`; `resume` takes up the given snapshot. `stop_at`: iterations in all.
struct TinyRun {
  TinyRun(const TrainOptions& o, const std::filesystem::path& where, const std::filesystem::path& resume = {},
          const Device& device = Device::cpu())
      : options(o), dir(where), data(std::make_shared<const Dataset>(o.data)), state(options, device) {
    std::filesystem::create_directories(dir);
    if (!resume.empty()) restore(state, read_safetensors(resume));
  }

  void iterate(int count) {
    Reals reals(options, state, data, {.plan = plan()});
    Iteration iteration(options, state, data.get(), reals);
    for (int i = 0; i < count; ++i) iteration.run();
  }

  Outcome run(const std::atomic<int>* stop = nullptr) {
    RunLog log(dir, in_place ? AppendFile::Start::append : AppendFile::Start::empty);
    testing::internal::CaptureStdout();
    Trainer trainer(options, state, data, log, {.dir = dir, .in_place = in_place, .reals = plan(), .stop = stop});
    try {
      const Outcome outcome = trainer.run();
      output = testing::internal::GetCapturedStdout();
      return outcome;
    } catch (...) {
      output = testing::internal::GetCapturedStdout();
      throw;
    }
  }

  RealsPlan plan() const { return plan_reals(options, state.discriminator(), *data, DataMemory::automatic); }

  std::filesystem::path save(const std::string& name) {
    save_snapshot(dir / name, options, state);
    return dir / name;
  }

  TrainOptions options;
  std::filesystem::path dir;
  std::shared_ptr<const Dataset> data;
  TrainState state;
  bool in_place = false;
  std::string output;
};

}  // namespace firn
