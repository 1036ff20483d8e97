#include "training/augment/augment.h"

#include <algorithm>

namespace firn {
namespace {

std::unique_ptr<Pipe> pipe_of(const AugmentOptions& o) {
  if (o.by_probability()) return ada_pipe(o);
  return o.on() ? diff_augment(o.policy()) : nullptr;
}

}  // namespace

std::vector<std::pair<std::string, Tensor>> augment_scalars(const TrainOptions& o, const Device& device) {
  if (!o.augment.adapts()) return {};
  return {{"augment_p", Tensor::zeros({1}, o.model.type(), device)},
          {"augment_signs", Tensor::zeros({2}, o.model.type(), device)}};
}

Augment::Augment(const TrainOptions& o, TrainState& state)
    : Augment(o.augment, o.model.images(),
              o.augment.adapts() ? state.scalar("augment_p")
                                 : Tensor::full({1}, o.augment.p, o.model.type(), state.device()),
              o.augment.adapts() ? state.scalar("augment_signs") : Tensor()) {}

Augment::Augment(const AugmentOptions& options, const ImageShape& images, Tensor p, Tensor signs)
    : pipe_(pipe_of(options)), options_(options), images_(images), p_(std::move(p)), signs_(std::move(signs)) {}

void Augment::draw(Inputs& in, const std::string& which, int64_t n, Rng& rng) const {
  if (!pipe_) return;
  const std::vector<kernels::DrawnNumber> numbers = pipe_->numbers(images_);
  Tensor values = p_.like({n, std::ssize(numbers)});
  dispatch_acc(p_.type(), [&](auto tag) {
    using T = decltype(tag);
    kernels::DrawNumbers<T> k{.values = values.mutable_as<T>(),
                              .p = p_.as<T>(),
                              .N = n,
                              .count = static_cast<int>(numbers.size()),
                              .numbers = {},
                              .seed = rng.seed,
                              .offset = rng.offset++ - rng.start,
                              .origin = rng.origin};
    std::ranges::copy(numbers, k.numbers);
    run(values.stream(), k);
  });
  in.put(which + "_numbers", values);
  if (pipe_->has_noise())
    in.put(which + "_noise", randn({n, images_.height, images_.width, images_.channels}, rng, p_.type(), p_.device()));
}

Tensor Augment::operator()(const Tensor& images, const Inputs& in, const std::string& which) const {
  const Tensor values = in[which + "_numbers"];
  return pipe_ && values.defined() ? pipe_->apply(images, values, in[which + "_noise"]) : images;
}

void Augment::note(const Tensor& logits, std::vector<Term>& report, const std::string& stat) const {
  if (!pipe_) return;
  const Tensor now = cast(logits.detach(), p_.type());
  report.push_back({"", stat, mean(sign(now))});
  if (!signs_.defined()) return;
  dispatch_acc(signs_.type(), [&](auto tag) {
    using T = decltype(tag);
    run(signs_.stream(), kernels::AddSigns<T>{signs_.mutable_as<T>(), now.as<T>(), now.count()});
  });
}

void Augment::iteration_ends(int64_t iterations, int64_t images) const {
  if (!signs_.defined() || iterations % kInterval != 0) return;
  dispatch_acc(p_.type(), [&](auto tag) {
    using T = decltype(tag);
    run(p_.stream(), kernels::AdaptProbability<T>{p_.mutable_as<T>(), signs_.mutable_as<T>(), T(options_.target),
                                                  T(double(images * kInterval) / (options_.ada_kimg * 1000))});
  });
}

}  // namespace firn
