#pragma once
/// @file
/// @brief Averages over the steps of a training, in place: of weights (EMA, SWA), of gradients.

#include "core/types.h"

namespace fastprop {

/// average += share (w - average); copies w where the share is 1, does nothing where it is 0.
template <class T>
void average_update(const T* w, T* average, Index n, double share);

/// sum = keep sum + factor g, where keep is 0 (whatever the sum held) or 1.
template <class T>
void accumulate_gradient(const T* g, T* sum, Index n, double keep, double factor);

}  // namespace fastprop
