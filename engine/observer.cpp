#include "engine/observer.h"

#include <utility>

namespace firn {

static thread_local Observer* watching = nullptr;

Watch::Watch(Observer* observer) : outer_(std::exchange(watching, observer)) {}
Watch::~Watch() { watching = outer_; }

Observer* observer() { return watching; }

}  // namespace firn
