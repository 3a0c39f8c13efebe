#pragma once
/// @file
/// @brief Steps of the gradient's sign: one pass over gradient, weight and state, in place.

#include "core/types.h"

namespace fastprop {

struct LionOptions {
    double beta1 = 0.9;
    double beta2 = 0.99;
    double weight_decay = 0.0;
};

/// w -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay w);
/// m = beta2 m + (1 - beta2) g.  (Chen et al. 2023)
template <class T>
void lion_update(const T* g, T* w, T* m, Index n, double learning_rate, const LionOptions& options);

struct RpropOptions {
    double eta_minus = 0.5;
    double eta_plus = 1.2;
    double smallest = 1e-6;
    double largest = 50.0;
};

/// Where the gradient kept its sign, size = min(size eta_plus, largest); where it changed,
/// size = max(size eta_minus, smallest) and g = 0.  w -= sign(g) size;  previous = g.
template <class T>
void rprop_update(const T* g, T* w, T* previous, T* size, Index n, const RpropOptions& options);

}  // namespace fastprop
