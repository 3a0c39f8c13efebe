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

/// Some rows of a weight, all of `size` elements.
template <class T>
struct LambRows {
    const T* g;
    const T* w;
    T* r;
    T* m;
    T* v;
    T* w_squares;  ///< one sum for each row
    T* r_squares;
    Index count;
    Index size;
};

/// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
/// r = inv_bias m / (sqrt(v) inv_sqrt_bias + eps) + weight_decay w;
/// w_squares and r_squares = the rows' sums of w^2 and r^2, taken while a row is in the cache.
/// inv_bias is 1 / (1 - beta1^t), inv_sqrt_bias is 1 / sqrt(1 - beta2^t).
template <class T>
void lamb_direction(const LambRows<T>& rows, double inv_bias, double inv_sqrt_bias,
                    const LambOptions& options);

/// The root of the sum of the rows' sums of squares.
template <class T>
double lamb_norm(const T* squares, Index rows);

/// w -= learning_rate |w| / |r| r; the ratio is 1 where one of the norms is 0.
template <class T>
void lamb_update(const T* r, T* w, Index n, double learning_rate, double w_norm, double r_norm);

}  // namespace fastprop
