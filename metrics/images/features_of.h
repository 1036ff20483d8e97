// From images to the numbers that metrics compare.
#pragma once
#include <memory>
#include <optional>

#include "io/safetensors.h"
#include "metrics/images/image_set.h"
#include "metrics/images/resize.h"
#include "metrics/numbers/matrix.h"
#include "models/features/features.h"

namespace firn {

// What published figures were computed with.
enum class Variant {
  standard,       // NVIDIA's code and torch-fidelity: TensorFlow 1's bilinear resizer
  clean,          // clean-fid: Pillow's bicubic one
  freezed_legacy  // the published tables of FreezeD: a network normalised by batches of 50 reals and 8 fakes, values
                  // from -3 to 1, reals mirrored by chance, pixel centres
};
const char* name_of(Variant variant);
Resizer resizer_of(Variant variant);

struct FeatureTable {
  Matrix features, logits;  // a row an image; logits have no columns where the network has no classifier
  std::vector<int> labels;
  std::vector<int64_t> items;  // numbers in their set
  FeatureTable first(int64_t rows) const;
  void append(const FeatureTable& more);
};

SafetensorsFile to_file(const FeatureTable& table);
// IoError for one that does not hold features of as many numbers.
FeatureTable features_from(const SafetensorsFile& file, int64_t features);

enum class Side { reals, fakes };

// A network, ready for images.
class FeatureExtractor {
 public:
  // `file`: weights. IoError where it holds no network.
  FeatureExtractor(const FeatureWeights& weights, Variant variant, DType type, const Device& device);
  // Without weights: pixels of the image shrunk to 16x16. Similar images are near in them; nothing more is claimed.
  explicit FeatureExtractor(Variant variant);

  const std::string& name() const { return name_; }       // "inception"
  const std::string& weights() const { return sha256_; }  // SHA-256 of the file; empty without one
  Variant variant() const { return variant_; }
  const FeatureNetwork& network() const { return *network_; }

  // Rows are the same bits however the images come: the network sees batches of one size. Error for values that are
  // not finite. progress(images done).
  FeatureTable operator()(const ImageSet& images, int64_t count, Side side,
                          const std::function<void(int64_t)>& progress = {}) const;
  std::string key(const ImageSet& images, int64_t count, Side side) const;  // of all that decides the result; or empty

 private:
  std::string name_, sha256_;
  Variant variant_;
  DType type_ = DType::f32;
  std::shared_ptr<const FeatureNetwork> network_;
  Device device_;
};

inline constexpr const char* pixel_features = "pixels";  // the name of the second constructor's network

}  // namespace firn
