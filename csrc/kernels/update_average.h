#pragma once
/// @file
/// @brief Averages of weights over the steps of a training (EMA, SWA), in place.

#include "core/types.h"

namespace fastprop {

/// average += share (w - average); copies w where the share is 1, does nothing where it is 0.
template <class T>
void average_update(const T* w, T* average, Index n, double share);

}  // namespace fastprop
