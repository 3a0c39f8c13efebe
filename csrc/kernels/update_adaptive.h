#pragma once
/// @file
/// @brief Steps scaled by sums of squared gradients: one pass over gradient, weight and state, in
/// place.

#include "core/types.h"

namespace fastprop {

struct RmspropOptions {
    double alpha = 0.99;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double momentum = 0.0;
};

/// g += weight_decay w;  s = alpha s + (1 - alpha) g^2;  a = alpha a + (1 - alpha) g;
/// buf = momentum buf + g / (sqrt(s - a^2) + eps);  w -= learning_rate buf.
/// Without `mean` (a) it is sqrt(s); without momentum `buf` may be null.
template <class T>
void rmsprop_update(const T* g, T* w, T* square, T* buf, T* mean, Index n, double learning_rate,
                    const RmspropOptions& options);

/// g += weight_decay w;  sum += g^2;  w -= rate g / (sqrt(sum) + eps).
template <class T>
void adagrad_update(const T* g, T* w, T* sum, Index n, double rate, double weight_decay,
                    double eps);

struct AdadeltaOptions {
    double rho = 0.9;
    double eps = 1e-6;
    double weight_decay = 0.0;
};

/// g += weight_decay w;  s = rho s + (1 - rho) g^2;  d = sqrt(moves + eps) / sqrt(s + eps) g;
/// moves = rho moves + (1 - rho) d^2;  w -= learning_rate d.
template <class T>
void adadelta_update(const T* g, T* w, T* square, T* moves, Index n, double learning_rate,
                     const AdadeltaOptions& options);

}  // namespace fastprop
