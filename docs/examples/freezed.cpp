// FreezeD on the library, without the training tool: the discriminator keeps its low-level features frozen.
//   example_freezed IMAGES.zip [SOURCE-SNAPSHOT]        (64x64 RGB images; a snapshot of gan-train --channel-base 4096)
#include <fmt/core.h>

#include "base/error.h"
#include "engine/adam.h"
#include "io/loader.h"
#include "models/stylegan2/stylegan2.h"
#include "training/state/snapshot.h"
#include "training/step/feed.h"

using namespace firn;

int main(int argc, char** argv) try {
  if (argc < 2) throw ConfigError("usage: example_freezed IMAGES.zip [SOURCE-SNAPSHOT]");
  const Device device = Device::best();  // a GPU if there is one
  const StyleGan2Options options{.height = 64, .channel_base = 4096, .mapping_layers = 2};
  StyleGan2Generator g(options, device);
  StyleGan2Discriminator d(options, device);
  if (argc > 2) {
    const SafetensorsFile source = read_safetensors(argv[2]);
    load_network(g, source, "G");
    load_network(d, source, "D");
  }
  d.parameters()("b64.*", "b32.*").freeze();  // FreezeD

  Adam d_opt(d.parameters().trainable(), {.lr = 2e-3, .beta1 = 0.0, .beta2 = 0.99});
  Adam g_opt(g.parameters().trainable(), {.lr = 2e-3, .beta1 = 0.0, .beta2 = 0.99});
  const auto data =
      std::make_shared<Dataset>(DatasetOptions{.path = argv[1], .resolution = 64, .channels = 3, .resize = true});
  Loader loader(data, {.batch = 8, .seed = 1});
  ImageFeed feed({8, 64, 64, 3}, DType::f32, device);
  Rng rng{.seed = 1};
  const double r1_gamma = 1;

  for (int step = 0; step < 8; ++step) {
    const Tensor& images = feed.put(loader.next().pixels);
    const auto generate = [&] {
      return g.synthesize(g.broadcast(g.map(randn({8, 512}, rng, DType::f32, device), {})), &rng);
    };
    Tensor loss = mean(softplus(-d(images))) + mean(softplus(d(generate().detach())));
    if (d_opt.step_count() % 16 == 0) {  // lazy R1
      const Tensor x = images.require_grad();
      const Tensor gx = grad(sum(d(x)), {x}, {.create_graph = true})[0];
      loss = loss + mean(sum_per_sample(square(gx))) * (0.5 * r1_gamma * 16);
    }
    d_opt.step(grad(loss, d_opt.parameters()));

    const FrozenScope passed_through(d.parameters());
    const Tensor g_loss = mean(softplus(-d(generate())));
    g_opt.step(grad(g_loss, g_opt.parameters()));
    fmt::print("step {}: D {:.3f}, G {:.3f}\n", step, loss.item(), g_loss.item());
  }
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
