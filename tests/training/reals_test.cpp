// The reals of an iteration: the same images and labels wherever they wait, and features that stand for them.
#include "tests/training/training_support.h"

namespace firn {
namespace {

struct RealsTest : testing::Test {
  Scratch scratch;
  TrainOptions options(DType type = DType::f64, int size = 8) {
    TrainOptions o = tiny_options(write_images(scratch / "data", 7, size, 3, 2), type);
    o.data.mirror = o.data.use_labels = o.cond = true;
    model_of(o).height = size;
    model_of(o).c_dim = 2;
    o.batch_gpu = 2;
    return o;
  }
  void break_image(const std::string& name) {
    const std::vector<std::byte> png = read_bytes(scratch / "data" / name);
    put(scratch / "data" / name, std::span(png).first(png.size() / 2));
  }
};

Reals reals_of(const TinyRun& run, DataMemory memory = DataMemory::host) {
  return Reals(run.options, run.state, run.data,
               {.plan = plan_reals(run.options, run.state.discriminator(), *run.data, memory)});
}

TEST_F(RealsTest, AreTheSameFromEitherMemory) {
  TrainOptions o = options();
  break_image("class1/0001.png");
  break_image("class1/0005.png");  // the last one: what replaces it is an item mirrored
  TinyRun run(o, scratch / "run");
  for (const DataPosition position : {DataPosition{}, DataPosition{.epoch = 3, .index = 11}}) {
    run.state.data = position;
    Reals host = reals_of(run), device = reals_of(run, DataMemory::device);
    EXPECT_EQ(host.position(), position);
    for (int batch = 0; batch < 12; ++batch) {
      host.next();
      device.next();
      ASSERT_EQ(host.images().to_doubles(), device.images().to_doubles()) << batch;
      ASSERT_EQ(host.labels().to_doubles(), device.labels().to_doubles()) << batch;
      ASSERT_EQ(host.position(), device.position());
    }
  }
  EXPECT_EQ(run.data->bad_images().size(), 2u);
}

TEST_F(RealsTest, FeaturesAreThoseOfTheBatch) {
  for (const DataMemory memory : {DataMemory::host, DataMemory::device}) {
    TrainOptions o = options(DType::f64, 16);
    o.cache_features = true;
    o.freeze.patterns = {"D:b16.*"};
    break_image("class0/0002.png");
    TinyRun run(o, scratch / "run");
    Reals reals = reals_of(run, memory);
    for (int batch = 0; batch < 8; ++batch) {
      reals.next();
      ASSERT_EQ(reals.features().to_doubles(), run.state.discriminator().features(reals.images()).to_doubles())
          << batch;
    }
  }
}

// Bit for bit in f64, whose kernels treat a sample alike in any batch; else a library may choose by the batch's size.
TEST_F(RealsTest, TrainingWithFeaturesEqualsTrainingWithout) {
  struct Case {
    DType type, activations;
    double tolerance;
  };
  for (const auto& [type, activations, tolerance] :
       {Case{DType::f64, DType::f32, 0}, Case{DType::f32, DType::f32, 1e-5}, Case{DType::f32, DType::bf16, 1e-3}}) {
    TrainOptions o = options(type, 16);
    model_of(o).activation_type = activations;
    o.freeze.blocks = 1;
    TinyRun plain(o, scratch / "plain");
    o.cache_features = true;
    TinyRun cached(o, scratch / "cached"), first(o, scratch / "first");
    plain.iterate(5);
    cached.iterate(5);
    first.iterate(3);
    TinyRun second(o, scratch / "second", first.save("half.safetensors"));
    second.iterate(2);
    const Stats expected = plain.state.stats.read();
    for (const auto& [name, stat] : cached.state.stats.read())
      EXPECT_NEAR(stat.mean(), expected.at(name).mean(), tolerance * (1 + std::abs(stat.mean()))) << name;
    for (const auto& [with, without] :
         {std::pair{&cached.state.generator().parameters(), &plain.state.generator().parameters()},
          {&cached.state.discriminator().parameters(), &plain.state.discriminator().parameters()}})
      for (size_t i = 0; i < with->size() && type == DType::f64; ++i)
        EXPECT_EQ((*with)[i].value().to_doubles(), (*without)[i].value().to_doubles()) << (*with)[i].name();
    EXPECT_EQ(read_bytes(second.save("end.safetensors")), read_bytes(cached.save("end.safetensors")));
  }
}

TEST_F(RealsTest, PlanSaysWhatIsNeeded) {
  TrainOptions o = options(DType::f32, 16);
  o.freeze.blocks = 1;
  const TinyRun run(o, scratch / "run");
  const auto plan = [&](DataMemory memory) { return plan_reals(o, run.state.discriminator(), *run.data, memory); };
  EXPECT_EQ(plan(DataMemory::automatic).images, 0);  // a CPU
  EXPECT_EQ(plan(DataMemory::automatic).features, 0);
  EXPECT_EQ(plan(DataMemory::device).images, 7 * 16 * 16 * 3);
  o.cache_features = true;
  EXPECT_EQ(plan(DataMemory::device).features, 14 * 8 * 8 * 8 * 4);

  StyleGan2Options m = model_of(o);  // features of 512x8388608 take more than machines have
  m.height = 1024;
  m.width = 1 << 24;
  m.channel_base = 1 << 13;
  m.channel_max = 8;
  const StyleGan2Discriminator d(m, Device::cpu());
  EXPECT_THROW(plan_reals(o, d, *run.data, DataMemory::host), ConfigError);  // nothing is frozen
  d.parameters()("b1024.*").freeze();
  EXPECT_MENTIONS(message_of<ConfigError>([&] { plan_reals(o, d, *run.data, DataMemory::host); }),
                  "--cache-features: 1792.00 GB for the features do not fit");
}

}  // namespace
}  // namespace firn
