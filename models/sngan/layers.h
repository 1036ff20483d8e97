// How SNGAN's layers begin, as in Chainer: Glorot's uniform distribution, biases of 0.
#pragma once
#include "models/layers/maker.h"
#include "models/sngan/sngan.h"

namespace firn {

// U(-s, s) with s = gain sqrt(6 / (in + out)), both times the pixels of the window. w [out,in] or [out,k,k,in].
Parameter glorot(ParameterMaker& make, const std::string& name, Shape shape, double gain);

}  // namespace firn
