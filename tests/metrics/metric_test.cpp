// Names of metrics, and what each says of images that are known.
#include "metrics/metric.h"

#include <gtest/gtest.h>

#include "tests/metrics/metrics_support.h"

namespace firn {
namespace {

std::string complete(const std::string& name, const std::string& network = {}) {
  return parse_metric(name, network).text();
}

TEST(MetricName, IsReadInEveryVocabulary) {
  EXPECT_EQ(complete("fid50k_full"), "fid50k_full");
  EXPECT_EQ(complete("fid50k"), "fid50k");
  EXPECT_EQ(complete("fid5k_full"), "fid5k_full");
  EXPECT_EQ(complete("frechet_inception_distance"), "fid50k_full");
  EXPECT_EQ(complete("FrechetInceptionDistance"), "fid50k_full");
  EXPECT_EQ(complete("kernel_inception_distance"), "kid50k_full");
  EXPECT_EQ(complete("is50k"), "is50k");
  EXPECT_EQ(complete("InceptionScore"), "is50k");
  EXPECT_EQ(complete("pr50k3_full"), "pr50k3_full-vgg16");
  EXPECT_EQ(complete("precision"), "pr50k3_full-vgg16");
  EXPECT_EQ(complete("density"), "prdc50k5_full");
  EXPECT_EQ(complete("ppl2_wend"), "ppl2_wend-vgg16");
  EXPECT_EQ(complete("ppl_zfull"), "ppl_zfull-vgg16");
  EXPECT_EQ(complete("PerceptualPathLength"), "ppl2_wend-vgg16");
  EXPECT_EQ(complete("MemorizationInformedFrechetInceptionDistance"), "mifid50k_full");
  EXPECT_EQ(complete("LearnedPerceptualImagePatchSimilarity"), "lpips1k-vgg16");
  EXPECT_EQ(complete("monge_inception_distance"), "mind5k_full");
  EXPECT_EQ(complete("swd"), "swd16384_full");
}

TEST(MetricName, CarriesCountsNetworkAndVariant) {
  EXPECT_EQ(complete("fid200_holdout-mobilenetv2"), "fid200_holdout-mobilenetv2");
  EXPECT_EQ(complete("fid5k_full-clean"), "fid5k_full-clean");
  EXPECT_EQ(complete("fid5k_full-mobilenetv2-clean"), "fid5k_full-mobilenetv2-clean");
  EXPECT_EQ(complete("fid5k_full-efficientnet-lite1"), "fid5k_full-efficientnet-lite1");
  EXPECT_EQ(complete("kid5k_holdout-efficientnet-lite1-clean"), "kid5k_holdout-efficientnet-lite1-clean");
  EXPECT_EQ(complete("fid5k_full-vgg16-antialiased-clean"), "fid5k_full-vgg16-antialiased-clean");
  EXPECT_EQ(complete("fid5k_full-standard"), "fid5k_full");
  EXPECT_EQ(complete("fid5k_full-freezed-legacy"), "fid5k_full-freezed-legacy");
  EXPECT_EQ(complete("prdc200n5_full"), "prdc200n5_full");
  EXPECT_EQ(complete("prdc1k3"), "prdc1k3");
  EXPECT_EQ(complete("ppl2_1k_wfull"), "ppl2_1k_wfull-vgg16");
  EXPECT_EQ(complete("ppl200_zfull"), "ppl_200_zfull-vgg16");
  EXPECT_EQ(complete("ppl2k"), "ppl_2k_wend-vgg16");
  EXPECT_EQ(complete("pr5k3_full-inception"), "pr5k3_full-inception");
  EXPECT_EQ(complete("fid5k_full", "mobilenetv2"), "fid5k_full-mobilenetv2");
  EXPECT_EQ(complete("fid5k_full-inception", "mobilenetv2"), "fid5k_full");
}

TEST(MetricName, ThatIsCompleteIsReadBackAsItself) {
  for (const Metric& m : metrics())
    for (const char* more : {"", "7", "2k", "200", "_full", "7_holdout"})
      for (const char* network : {"", "inception", "vgg16", "vgg16-antialiased", "efficientnet-lite1"}) {
        if (!m.needs_reals && std::string(more).find('_') != std::string::npos) continue;
        const bool numbered = std::isdigit(m.name.back()) && std::isdigit(more[0]);
        const std::string name = complete(m.name + (numbered ? "_" : "") + more, network);
        EXPECT_EQ(complete(name), name);
      }
}

TEST(MetricName, ThatSaysNothingIsRefused) {
  for (const char* name : {"", "fidelity", "fid5q", "fid5k_half", "swd-mobilenetv2", "fid-nosuchnetwork", "fid0",
                           "fid5k_full-mobilenetv2-freezed-legacy", "kid-", "ppl_north", "ppl_full", "is_holdout",
                           "fid\n5k", "fid5k-inception-mobilenetv2"})
    EXPECT_THROW(parse_metric(name), ConfigError) << name;
}

TEST(Metric, OfTheSameImagesIsItsBest) {
  const auto images = smooth_images(0, 40, 2);
  const Evaluation e = evaluate(images, images,
                                {"fid40_full-pixels", "kid40_full-pixels", "prdc40n3_full-pixels", "mind40_full-pixels",
                                 "classfid40_full-pixels", "mifid40_full-pixels", "swd40_full"});
  EXPECT_NEAR(score(e, "fid40_full-pixels"), 0, 1e-6);
  EXPECT_LT(score(e, "kid40_full-pixels"), 0);  // unbiased, and the diagonal is left out of one part only
  EXPECT_NEAR(score(e, "mind40_full-pixels"), 0, 1e-12);
  EXPECT_NEAR(score(e, "classfid40_full-pixels"), 0, 1e-6);
  EXPECT_EQ(score(e, "mifid40_full-pixels"), 0);
  EXPECT_EQ(score(e, "prdc40n3_full-pixels_precision"), 1);
  EXPECT_EQ(score(e, "prdc40n3_full-pixels_recall"), 1);
  EXPECT_EQ(score(e, "prdc40n3_full-pixels_coverage"), 1);
  EXPECT_EQ(score(e, "prdc40n3_full-pixels_f1"), 1);
  EXPECT_LT(score(e, "swd40_full"), 60);  // other patches of the same images
}

TEST(Metric, IsWorseTheFurtherImagesAre) {
  const auto reals = smooth_images(0, 40), like = smooth_images(100, 40);
  const auto other = made(40, [](int64_t i) {
    Image image = smooth_image(200 + int(i));
    for (uint8_t& p : image.pixels) p = uint8_t(p / 3);
    return image;
  });
  const std::vector<std::string> names = {"fid40_full-pixels", "kid40_full-pixels", "mind40_full-pixels",
                                          "mifid40_full-pixels", "swd40_full"};
  const Evaluation near = evaluate(reals, like, names), far = evaluate(reals, other, names);
  for (const std::string name : {"fid40_full-pixels", "kid40_full-pixels", "mind40_full-pixels", "mifid40_full-pixels"})
    EXPECT_GT(score(far, name), 1.5 * score(near, name)) << name;
}

TEST(Metric, ThatCannotBeMadeIsSaidAndCostsNoOther) {
  const auto images = smooth_images(0, 8), none = made(0, [](int64_t) { return Image(8, 8, 3); }),
             small = made(8, [](int64_t i) { return smooth_image(int(i), 6); }),
             larger = made(8, [](int64_t i) { return smooth_image(int(i), 20); }),  // of as many scales
      large = made(8, [](int64_t i) { return smooth_image(int(i), 64); }),
             mixed = made(8, [](int64_t i) { return smooth_image(int(i), i < 4 ? 16 : 64); });
  const auto fails = [&](const std::shared_ptr<const ImageSet>& fakes, const char* name) {
    const Evaluation e = evaluate(images, fakes, {name, "kid8_full-pixels"});
    ASSERT_FALSE(e.failures.empty()) << name;
    EXPECT_EQ(e.failures[0].find(name), 0u) << e.failures[0];
    EXPECT_EQ(e.metrics.size(), fakes->size() > 0 ? 1u : 0u) << name;
  };
  fails(images, "classfid8_full-pixels");
  fails(images, "is8-pixels");
  fails(small, "swd8_full");
  fails(larger, "swd8_full");
  fails(large, "swd8_full");
  fails(mixed, "swd8_full");
  fails(none, "fid8_full-pixels");
  fails(images, "prdc8n8_full-pixels");
  EXPECT_THROW(evaluate(images, images, {"fid8_holdout-pixels"}), ConfigError);
  EXPECT_THROW(evaluate(images, images, {"ppl2_8_wend-pixels"}), Error);
}

TEST(Metric, LooksAtTheRealsOnceForManyGenerators) {
  int looks = 0;
  const auto reals = made(30, [&](int64_t i) { return ++looks, smooth_image(int(i)); });
  const std::vector<std::string> names = {"fid40_full-pixels", "swd40_full"};
  const WeightFiles no_files;
  const ComparisonSettings settings;
  Comparison comparison(reals, nullptr, parse_metrics(names, no_files), settings);
  comparison(smooth_images(50, 40));
  const int once = looks;
  const auto others = smooth_images(100, 40);
  const Evaluation again = comparison(others);
  EXPECT_EQ(looks, once);
  const Evaluation alone = evaluate(reals, others, names);
  for (const std::string& name : names) EXPECT_EQ(score(again, name), score(alone, name)) << name;
}

// A count below what there is takes the first images, whatever else is measured.
TEST(Metric, IsTheSameBesideOthers) {
  const auto reals = smooth_images(0, 30), fakes = smooth_images(50, 60);
  const double alone = score(evaluate(reals, fakes, {"fid20_full-pixels"}), "fid20_full-pixels");
  EXPECT_EQ(score(evaluate(reals, fakes, {"fid60_full-pixels", "fid20_full-pixels"}), "fid20_full-pixels"), alone);
}

}  // namespace
}  // namespace firn
