#pragma once
/// @file
/// @brief Gradient descent: one pass over gradient, weight and momentum, in place.
///
/// Of all `update_*.h`: formulas are PyTorch's, unless they say otherwise. The weight, its gradient
/// and its state are contiguous ranges of `n` elements.

#include "core/types.h"

namespace fastprop {

struct SgdOptions {
    double momentum = 0.0;
    bool nesterov = false;
    double weight_decay = 0.0;
};

/// g += weight_decay w;  buf = momentum buf + gradient_factor g;
/// w -= learning_rate (nesterov ? g + momentum buf : buf).
/// `gradient_factor` is 1 - dampening, but 1 on the first step. Without momentum `buf` may be null.
template <class T>
void sgd_update(const T* g, T* w, T* buf, Index n, double learning_rate, double gradient_factor,
                const SgdOptions& options);

}  // namespace fastprop
