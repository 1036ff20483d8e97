#include "training/options/augment_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

using Names = std::vector<std::string>;

struct Group {
  std::string name;
  Names transforms;
};

// Those that follow from others are sums of them: bgc is blit, geom and color.
const std::vector<Group>& groups() {
  static const std::vector<Group> all = {
      {"blit", {"xflip", "rotate90", "xint"}},
      {"geom", {"scale", "rotate", "aniso", "xfrac"}},
      {"color", {"brightness", "contrast", "lumaflip", "hue", "saturation"}},
      {"filter", {"imgfilter"}},
      {"noise", {"noise"}},
      {"cutout", {"cutout"}},
  };
  return all;
}

constexpr std::string_view longest = "bgcfnc";

bool is_sum(std::string_view name) { return name.size() >= 2 && longest.starts_with(name); }

// ConfigError for a name that no group, no sum of them and no transform has.
Names transforms_of(const std::string& pipe) {
  Names found;
  const auto none = [&] {
    return ConfigError(fmt::format("--augpipe {}: expected one of {}, or transforms like xflip+scale; there are {}",
                                   printable(pipe, 60), fmt::join(ada_pipes(), ", "),
                                   fmt::join(ada_transforms(), ", ")));
  };
  const auto add = [&](const Names& more) { found.insert(found.end(), more.begin(), more.end()); };
  if (is_sum(pipe)) {
    for (size_t i = 0; i < pipe.size(); ++i) add(groups()[i].transforms);
    return found;
  }
  for (const std::string& part : parts_of(pipe, '+')) {
    const auto group = std::ranges::find(groups(), part, &Group::name);
    if (group != groups().end())
      add(group->transforms);
    else if (std::ranges::count(ada_transforms(), part))
      found.push_back(part);
    else
      throw none();
  }
  if (found.empty()) throw none();
  return found;
}

constexpr std::string_view kDiffAug = "diffaug-";

}  // namespace

void check_aug(const std::string& text, const char* flag) {
  static const Names whole = {"noaug", "ada", "fixed"}, parts = {"color", "translation", "cutout"};
  if (std::ranges::count(whole, text)) return;
  Names seen;
  bool good = text.starts_with(kDiffAug);
  for (const std::string& part : good ? parts_of(text.substr(kDiffAug.size()), '-') : Names{}) {
    good &= std::ranges::count(parts, part) == 1 && std::ranges::count(seen, part) == 0;
    seen.push_back(part);
  }
  if (!good || seen.empty())
    throw ConfigError(
        fmt::format("{} {}: expected noaug, ada, fixed or diffaug- and one to three of {}, each once, "
                    "like diffaug-color-translation-cutout",
                    flag, printable(text, 60), fmt::join(parts, ", ")));
}

const Names& ada_transforms() {
  static const Names all = [] {
    Names names;
    for (const Group& g : groups()) names.insert(names.end(), g.transforms.begin(), g.transforms.end());
    return names;
  }();
  return all;
}

const Names& ada_pipes() {
  static const Names all = [] {
    Names names;
    for (const Group& g : groups()) names.push_back(g.name);
    for (size_t n = 2; n <= longest.size(); ++n) names.emplace_back(longest.substr(0, n));
    return names;
  }();
  return all;
}

Names AugmentOptions::policy() const {
  return aug.starts_with(kDiffAug) ? parts_of(aug.substr(kDiffAug.size()), '-') : Names{};
}

bool AugmentOptions::transforms_by(std::string_view name) const {
  return by_probability() && std::ranges::count(transforms_of(pipe), name) > 0;
}

std::string AugmentOptions::describe() const {
  if (adapts()) return fmt::format("ada {}, target {:g}, {:g} kimg", pipe, target, ada_kimg);
  return by_probability() ? fmt::format("fixed {}, p {:g}", pipe, p) : aug;
}

void AugmentOptions::visit(OptionVisitor& v) {
  constexpr const char* group = "Configuration";
  v({.key = "aug",
     .flag = "--aug",
     .help = "what happens to images before D sees them: noaug, ada, fixed, or diffaug-color-translation-cutout",
     .group = group},
    checked(aug, [](const std::string& text) { check_aug(text); }));
  v({.key = "p",
     .flag = "-p,--p",
     .help = "probability of each transform, with --aug fixed",
     .group = group,
     .least = 0,
     .most = 1,
     .may_change = true,
     .folder = "p"},
    p);
  v({.key = "target",
     .flag = "--target",
     .help = "with --aug ada: the mean sign of D's logits of reals that the probability is to keep [0.6]",
     .group = group,
     .least = -1,
     .most = 1,
     .may_change = true,
     .folder = "target"},
    target);
  v({.key = "augpipe",
     .flag = "--augpipe",
     .help = "blit, geom, color, filter, noise, cutout, bg, bgc, bgcf, bgcfn, bgcfnc, or transforms like xflip+scale",
     .group = group,
     .folder = "augpipe-"},
    checked(pipe, [](const std::string& text) { transforms_of(text); }));
  v({.key = "ada_kimg",
     .flag = "--ada-kimg",
     .help = "with --aug ada: in which the probability can go from 0 to 1 [500, 100 with --init]",
     .group = group,
     .least = 0,
     .most = 1e9,
     .above_least = true,
     .may_change = true},
    ada_kimg);
}

}  // namespace firn
