#pragma once
/// @file
/// @brief Leaky relu with a learned slope, one for all or one a channel.

#include "core/types.h"

namespace fastprop {

/// x as [rows, channels, inner]. With one slope for all, channels is 1.
struct PreluShape {
    Index rows;
    Index channels;
    Index inner;
};

/// y = x > 0 ? x : slope[c] * x.
template <class T>
void prelu_forward(const T* x, const T* slope, T* y, const PreluShape& shape);

/// dx = x > 0 ? dy : slope[c] * dy.
template <class T>
void prelu_backward_data(const T* x, const T* slope, const T* dy, T* dx, const PreluShape& shape);

/// dslope[c] = sum of x * dy where x is not positive, for the channels of a range, rows in order.
template <class T>
void prelu_backward_slope(const T* x, const T* dy, T* dslope, const PreluShape& shape,
                          Range channels);

}  // namespace fastprop
