#pragma once
/// @file
/// @brief Optimizer updates: one pass over gradient, weight and state, in place.
///
/// Formulas and order of operations are PyTorch's (torch.optim.SGD, Adam, AdamW). The weight, its
/// gradient and its state are contiguous ranges of `n` elements.

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

struct AdamOptions {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.0;
    bool decoupled = false;  ///< AdamW: decay the weight itself, not through the gradient
};

/// What changes from step to step t = 1, 2, …
struct AdamStep {
    double learning_rate;
    double step_size;      ///< learning_rate / (1 - beta1^t)
    double inv_sqrt_bias;  ///< 1 / sqrt(1 - beta2^t)
};

/// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
/// w -= step_size m / (sqrt(v) inv_sqrt_bias + eps).
template <class T>
void adam_update(const T* g, T* w, T* m, T* v, Index n, const AdamStep& step,
                 const AdamOptions& options);

}  // namespace fastprop
