// Watches a network run: which ops made what of what. Fused ops run their definition meanwhile, so that all there is to
// see are primitives.
#pragma once
#include "engine/tape.h"

namespace firn {

class Observer {
 public:
  virtual ~Observer() = default;
  // An op has run. Inputs that it was not given are undefined. Views of one tensor have the same identity().
  virtual void saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor& output) = 0;
};

// While one lives, this observer is told of this thread's ops, and no other; null: none is.
class Watch {
 public:
  explicit Watch(Observer* observer);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  Observer* outer_;
};

Observer* observer();  // null: nobody watches
inline bool observed() { return observer() != nullptr; }

}  // namespace firn
