// Fisher information of weights on the data of a run: the mean square of the gradient of a network's own loss.
#pragma once
#include <memory>

#include "training/state/state.h"

namespace firn {

// Of each trainable parameter of a role, in the shape of its gradient: the mean, over so many batches of the data, of
// the square of what the role's main phases (those of every iteration, without methods) give it. Batches, latents and
// noise are those that training begins with; nothing of the state is changed.
std::vector<Tensor> fisher_information(TrainState& state, const TrainOptions& options, std::string_view role,
                                       const std::shared_ptr<const Dataset>& data, int batches);

std::string grounds_of_fisher_information(const TrainOptions& options);  // Method::grounds

}  // namespace firn
