// Networks with published weights that turn images into numbers: what metrics compare (FID's Inception, ...), and what
// perceptual distances are taken in.
#pragma once
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/network.h"

namespace firn {

// Of images from 0 to 255: (x / 255 - mean) / deviation by channel.
struct Normalisation {
  std::array<double, 3> mean, deviation;
};
inline constexpr Normalisation kImageNet{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};

struct FeatureOptions {
  DType type = DType::f32;        // of activations
  bool batch_statistics = false;  // normalise by the batch, as a network left in training mode does (Inception)
};

class FeatureNetwork : public Network {
 public:
  FeatureNetwork(const FeatureOptions& options, const Device& device) : Network(device), options_(options) {}
  virtual int size() const = 0;      // side of the square images that it takes
  virtual int features() const = 0;  // numbers an image

  struct Output {
    Tensor features;  // [N,features()] f32
    Tensor logits;    // [N,classes] f32, Inception's without their bias; undefined without a classifier
  };
  // images [N,size(),size(),3] f32, RGB from 0 to 255. Differentiable.
  virtual Output operator()(const Tensor& images) const = 0;

  // How many images features_of() feeds at once; 0: as they come, because the network normalises by the batch.
  int at_once() const { return options_.batch_statistics ? 0 : 8; }

  // Images [N,H,W,3] f32 from 0 to 255 as the network was trained to take them, of the type of its activations.
  virtual Tensor normalise(const Tensor& images) const { return normalised(images, kImageNet); }

  // What discriminators on frozen features look at (Kumari et al. 2022, arXiv 2112.09130): one map, or several and the
  // pooled vector behind them. Images are normalised already, and of any size where the network only has convolutions,
  // else [N,size(),size(),3]. Differentiable. ConfigError for what has no maps.
  struct Levels {
    std::vector<Tensor> maps;  // [N,h,w,C], from shallow to deep
    Tensor pooled;             // [N,C] f32, of the whole image
  };
  virtual Levels levels(const Tensor& normalised) const;

  // Four maps of the same kind from shallow to deep, each half as large as the one before it where the network has
  // such: what projected discriminators look at (Sauer et al. 2021, arXiv 2111.01007). Differentiable.
  virtual std::vector<Tensor> pyramid(const Tensor& normalised) const;

  // What levels() and pyramid() take, of images [N,H,W,C] in [-1,1], C being 1 or 3: of `side` rows and columns.
  Tensor seen(const Tensor& images, int side) const;

  // Activations that perceptual distances compare (LPIPS), of images [N,H,W,3] f32 of any size that are normalised
  // already. ConfigError for a network that none is defined on.
  virtual std::vector<Tensor> stages(const Tensor& images) const;
  // Those that losses compare, of the same images: VGG16's nine first (Mo et al. 2020), else its stages.
  virtual std::vector<Tensor> activations(const Tensor& images) const { return stages(images); }
  virtual std::vector<int> stage_channels() const { return {}; }

 protected:
  void require_size(const Tensor& images) const;  // ShapeError
  Tensor normalised(const Tensor& images, const Normalisation& by) const;

  FeatureOptions options_;

 private:
  struct Line {
    Tensor scale, shift;
  };
  mutable std::map<int64_t, Line> lines_;  // by the width of images, made once: a recording uploads nothing
};

// What a network gives for any number of images, fed in batches of one size, the last one filled up: libraries round
// otherwise for batches of other sizes. So an image has the same features, bit for bit, whatever it comes with.
FeatureNetwork::Output features_of(const FeatureNetwork& network, const Tensor& images);

// A kind of network that can be made of files with weights.
struct FeatureModel {
  std::string name;       // "inception": in the names of metrics and on the command line
  int only_size = 0;      // of images that judges may be given; 0: any
  int judge_size = 224;   // that they are given where nobody says another
  std::string published;  // the file that is wanted, where it comes from and its SHA-256, for a user who lacks it
  std::vector<std::string> files;  // under which it is looked for in a folder, besides NAME.safetensors and NAME.pth
  bool (*recognise)(const SafetensorsFile& weights);
  std::unique_ptr<FeatureNetwork> (*make)(const SafetensorsFile& weights, const FeatureOptions&, const Device&);
};
const std::vector<FeatureModel>& feature_models();
const FeatureModel& feature_model(std::string_view name);  // ConfigError naming all that there are

// Weights and where they came from: safetensors, or what torch.save wrote.
struct FeatureWeights {
  const FeatureModel* model;
  std::filesystem::path path;
  std::string sha256;  // of the file, in hexadecimal digits
};
// The network that a file holds. IoError for a file that holds none, or values that are not finite.
FeatureWeights feature_weights(const std::filesystem::path& file);
// Where find_feature_weights() finds its file, without a look into it; empty: nowhere.
std::filesystem::path feature_file(const FeatureModel& model, const std::filesystem::path& folder = {});
// By name in a folder, or $FIRN_WEIGHTS where `folder` is empty. IoError that says which published file is wanted.
FeatureWeights find_feature_weights(std::string_view name, const std::filesystem::path& folder);
std::unique_ptr<FeatureNetwork> load_features(const FeatureWeights& weights, const FeatureOptions& options,
                                              const Device& device);

}  // namespace firn
