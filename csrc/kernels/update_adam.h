#pragma once
/// @file
/// @brief Adam and its variants: one pass over gradient, weight and moments, in place.

#include "core/types.h"

namespace fastprop {

struct AdamOptions {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.0;
    bool decoupled = false;  ///< decay the weight itself (AdamW), not through the gradient
};

/// What changes from step to step t = 1, 2, …
struct AdamStep {
    double learning_rate;
    double step_size;      ///< learning_rate / (1 - beta1^t)
    double inv_sqrt_bias;  ///< 1 / sqrt(1 - beta2^t)
};

/// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
/// w -= step_size m / (sqrt(v) inv_sqrt_bias + eps).
/// With `largest` (AMSGrad), largest = max(largest, v) takes the place of v in the last line.
template <class T>
void adam_update(const T* g, T* w, T* m, T* v, T* largest, Index n, const AdamStep& step,
                 const AdamOptions& options);

/// m as Adam's;  u = max(beta2 u, |g| + eps);  w -= step_size m / u.
template <class T>
void adamax_update(const T* g, T* w, T* m, T* u, Index n, double step_size,
                   const AdamOptions& options);

struct NadamStep {
    double learning_rate;
    double gradient_size;  ///< learning_rate (1 - mu_t) / (1 - mu_1 … mu_t)
    double moment_size;    ///< learning_rate mu_{t+1} / (1 - mu_1 … mu_{t+1})
    double inv_sqrt_bias;  ///< 1 / sqrt(1 - beta2^t)
};

/// m, v as Adam's;  w -= (gradient_size g + moment_size m) / (sqrt(v) inv_sqrt_bias + eps).
template <class T>
void nadam_update(const T* g, T* w, T* m, T* v, Index n, const NadamStep& step,
                  const AdamOptions& options);

struct RadamStep {
    double learning_rate;
    double step_size;  ///< learning_rate / (1 - beta1^t), times rectification and bias if rectified
    bool rectified;
};

/// m, v as Adam's;  w -= rectified ? step_size m / (sqrt(v) + eps) : step_size m.
template <class T>
void radam_update(const T* g, T* w, T* m, T* v, Index n, const RadamStep& step,
                  const AdamOptions& options);

}  // namespace fastprop
