#pragma once
/// @file
/// @brief Softmax and its logarithm over rows, on shifted logits so that nothing overflows.

#include "core/types.h"

namespace fastprop {

/// y = exp(x - max x) / sum, row by row. In place is allowed.
template <class T>
void softmax_forward(const T* x, T* y, Index rows, Index n);

/// dx = y * (dy - sum(y * dy)), with y the output.
template <class T>
void softmax_backward(const T* y, const T* dy, T* dx, Index rows, Index n);

/// y = x - max x - log(sum(exp(x - max x))), row by row. In place is allowed.
template <class T>
void log_softmax_forward(const T* x, T* y, Index rows, Index n);

/// dx = dy - exp(y) * sum(dy), with y the output.
template <class T>
void log_softmax_backward(const T* y, const T* dy, T* dx, Index rows, Index n);

}  // namespace fastprop
