// The rows of feature_models().
#pragma once
#include "models/features/features.h"

namespace firn {

FeatureModel inception_model();
FeatureModel vgg16_model();
FeatureModel vgg16_antialiased_model();
FeatureModel squeezenet_model();
FeatureModel mobilenet_v2_model();
FeatureModel efficientnet_lite1_model();
FeatureModel clip_vit_b32_model();
FeatureModel dino_vit_b16_model();
FeatureModel dinov2_vit_s14_model();
FeatureModel swin_t_model();
FeatureModel swin_t_coco_model();
FeatureModel swin_t_ade_model();
FeatureModel unet_faces_model();
FeatureModel resnet18_normals_model();

template <class Network>
std::unique_ptr<FeatureNetwork> make_features(const SafetensorsFile& weights, const FeatureOptions& options,
                                              const Device& device) {
  return std::make_unique<Network>(weights, options, device);
}

}  // namespace firn
