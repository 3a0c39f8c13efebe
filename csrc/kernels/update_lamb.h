#pragma once
/// @file
/// @brief LAMB: Adam's direction first, then a step whose length fits the whole weight.

#include "core/types.h"

namespace fastprop {

struct LambOptions {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-6;
    double weight_decay = 0.0;
};

/// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
/// r = inv_bias m / (sqrt(v) inv_sqrt_bias + eps) + weight_decay w.
/// inv_bias is 1 / (1 - beta1^t), inv_sqrt_bias is 1 / sqrt(1 - beta2^t).
template <class T>
void lamb_direction(const T* g, const T* w, T* r, T* m, T* v, Index n, double inv_bias,
                    double inv_sqrt_bias, const LambOptions& options);

/// w -= learning_rate |w| / |r| r; the ratio is 1 where one of the norms is 0.
template <class T>
void lamb_update(const T* r, T* w, Index n, double learning_rate, double w_norm, double r_norm);

}  // namespace fastprop
