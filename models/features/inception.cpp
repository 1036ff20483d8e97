// InceptionV3 as TensorFlow published it on 2015-12-05, which the Frechet inception distance is defined on; tensors are
// named as pytorch-fid names them. Average pools leave padding out, the last block pools by the maximum, and logits
// have 1008 classes and no bias, as NVIDIA's inception score takes them.
#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr double kEps = 1e-3;

struct Step {
  const char* name;  // behind the block's
  int rows = 1, columns = 1, stride = 1, pad = -1;
};

enum class Pool { mean, max, down };  // `down`: the maximum, with stride 2

struct Branch {
  std::vector<Step> steps, fork{};  // fork: layers that each take what the steps give
};

struct Plan {
  const char* name;
  std::vector<Branch> branches;  // joined in this order, with what was pooled behind them
  Pool pool;
};

const Step k1x1{"branch1x1"};

Plan block_a(const char* name) {
  return {name,
          {{{k1x1}},
           {{{"branch5x5_1"}, {"branch5x5_2", 5, 5}}},
           {{{"branch3x3dbl_1"}, {"branch3x3dbl_2", 3, 3}, {"branch3x3dbl_3", 3, 3}}}},
          Pool::mean};
}

Plan block_c(const char* name) {
  return {name,
          {{{k1x1}},
           {{{"branch7x7_1"}, {"branch7x7_2", 1, 7}, {"branch7x7_3", 7, 1}}},
           {{{"branch7x7dbl_1"},
             {"branch7x7dbl_2", 7, 1},
             {"branch7x7dbl_3", 1, 7},
             {"branch7x7dbl_4", 7, 1},
             {"branch7x7dbl_5", 1, 7}}}},
          Pool::mean};
}

Plan block_e(const char* name, Pool pool) {
  return {name,
          {{{k1x1}},
           {{{"branch3x3_1"}}, {{"branch3x3_2a", 1, 3}, {"branch3x3_2b", 3, 1}}},
           {{{"branch3x3dbl_1"}, {"branch3x3dbl_2", 3, 3}}, {{"branch3x3dbl_3a", 1, 3}, {"branch3x3dbl_3b", 3, 1}}}},
          pool};
}

std::vector<Plan> plans() {
  return {block_a("Mixed_5b"),
          block_a("Mixed_5c"),
          block_a("Mixed_5d"),
          {"Mixed_6a",
           {{{{"branch3x3", 3, 3, 2, 0}}},
            {{{"branch3x3dbl_1"}, {"branch3x3dbl_2", 3, 3}, {"branch3x3dbl_3", 3, 3, 2, 0}}}},
           Pool::down},
          block_c("Mixed_6b"),
          block_c("Mixed_6c"),
          block_c("Mixed_6d"),
          block_c("Mixed_6e"),
          {"Mixed_7a",
           {{{{"branch3x3_1"}, {"branch3x3_2", 3, 3, 2, 0}}},
            {{{"branch7x7x3_1"}, {"branch7x7x3_2", 1, 7}, {"branch7x7x3_3", 7, 1}, {"branch7x7x3_4", 3, 3, 2, 0}}}},
           Pool::down},
          block_e("Mixed_7b", Pool::mean),
          block_e("Mixed_7c", Pool::max)};
}

using Layers = std::vector<FeatureLayer>;

struct Block {
  struct Part {
    Layers steps, fork;
  };
  std::vector<Part> parts;
  Pool pool;
  Layers behind;  // what is pooled
};

Tensor pass(const Layers& layers, Tensor x) {
  for (const FeatureLayer& layer : layers) x = layer(std::exchange(x, {}));
  return x;
}

Tensor pooled(const Tensor& x, Pool pool) {
  if (pool == Pool::mean) return mean_around(x, 3);
  return max_pool(x, pool == Pool::max ? PoolWindow{.pad = 1} : PoolWindow{.stride = 2});
}

Tensor run_block(const Block& block, const Tensor& x) {
  std::vector<Tensor> parts;
  for (const auto& [steps, fork] : block.parts) {
    const Tensor h = pass(steps, x);
    for (const FeatureLayer& layer : fork) parts.push_back(layer(h));
    if (fork.empty()) parts.push_back(h);
  }
  parts.push_back(pass(block.behind, pooled(x, block.pool)));
  return concat(parts, 3);
}

class Inception final : public FeatureNetwork {
 public:
  Inception(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    const auto layer = [&](const std::string& name, int64_t in, const Step& s) {
      return read({.name = name + ".conv",
                   .norm = name + ".bn",
                   .eps = kEps,
                   .in = in,
                   .window = s.rows,
                   .window_x = s.columns,
                   .stride = s.stride,
                   .pad = s.pad});
    };
    const auto add = [&](Layers& layers, const std::string& block, int64_t in, const Step& s) {
      layers.push_back(layer(block + s.name, layers.empty() ? in : layers.back().out(), s));
    };
    for (const Step& s : {Step{"1a_3x3", 3, 3, 2, 0}, Step{"2a_3x3", 3, 3, 1, 0}, Step{"2b_3x3", 3, 3}})
      add(front_, "Conv2d_", 3, s);
    for (const Step& s : {Step{"3b_1x1"}, Step{"4a_3x3", 3, 3, 1, 0}}) add(middle_, "Conv2d_", front_.back().out(), s);

    int64_t channels = middle_.back().out();
    for (const Plan& plan : plans()) {
      const std::string name = plan.name + std::string(".");
      const int64_t in = std::exchange(channels, 0);
      Block block{.parts = {}, .pool = plan.pool, .behind = {}};
      for (const Branch& branch : plan.branches) {
        Block::Part part;
        for (const Step& s : branch.steps) add(part.steps, name, in, s);
        for (const Step& s : branch.fork) {
          part.fork.push_back(layer(name + s.name, part.steps.back().out(), s));
          channels += part.fork.back().out();
        }
        if (branch.fork.empty()) channels += part.steps.back().out();
        block.parts.push_back(std::move(part));
      }
      if (plan.pool != Pool::down) add(block.behind, name, in, {"branch_pool"});
      channels += block.behind.empty() ? in : block.behind.back().out();
      blocks_.push_back(std::move(block));
    }
    classifier_ = read({.name = "fc", .in = channels, .act = linear()});
    classifier_.b = {};
  }

  int size() const override { return 299; }
  int features() const override { return int(classifier_.in()); }

  Output operator()(const Tensor& images) const override {
    const Tensor features = mean_of_pixels(map(normalise(images)));
    return {features, fully_connected(features, classifier_)};
  }

  Tensor normalise(const Tensor& images) const override { return scaled(images, 1 / 128.0, -1, options_.type); }
  Levels levels(const Tensor& images) const override { return one_level(map(images)); }

  // The last ones of each size.
  std::vector<Tensor> pyramid(const Tensor& images) const override {
    std::vector<Tensor> maps{enter(images)};
    Tensor h = max_pool(maps[0], {.stride = 2});
    for (size_t i = 0; i < blocks_.size(); ++i) {
      h = run_block(blocks_[i], std::exchange(h, {}));
      if (i + 1 == blocks_.size() || blocks_[i + 1].pool == Pool::down) maps.push_back(h);
    }
    return maps;
  }

 private:
  Tensor enter(const Tensor& images) const {
    return pass(middle_, max_pool(pass(front_, as_type(images, options_.type)), {.stride = 2}));
  }
  Tensor map(const Tensor& images) const {
    Tensor h = max_pool(enter(images), {.stride = 2});
    for (const Block& block : blocks_) h = run_block(block, std::exchange(h, {}));
    return h;
  }

  Layers front_, middle_;
  std::vector<Block> blocks_;
  FeatureLayer classifier_;
};

}  // namespace

FeatureModel inception_model() {
  return {.name = "inception",
          .published =
              "pt_inception-2015-12-05-6726825d.pth, the weights of pytorch-fid, whose SHA-256 begins with "
              "6726825d",
          .files = {"pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "Mixed_7c.branch_pool.conv.weight") == std::vector<int64_t>{192, 2048, 1, 1} &&
                       shape_in(file, "fc.weight") == std::vector<int64_t>{1008, 2048};
              },
          .make = make_features<Inception>};
}

}  // namespace firn
