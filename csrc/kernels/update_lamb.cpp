/// @file
/// @brief LAMB on packets.

#include "kernels/update_lamb.h"

#include <cmath>

#include "kernels/row_reduce.h"
#include "kernels/update_pass.h"

namespace fastprop {
namespace {

/// r, m and v of n elements from element `first` on.
template <class T>
void direction_pass(const LambRows<T>& rows, Index first, Index n, double inv_bias,
                    double inv_sqrt_bias, const LambOptions& options) {
    const auto beta1 = lanes_of<T>(options.beta1);
    const auto rest1 = lanes_of<T>(1.0 - options.beta1);
    const auto beta2 = lanes_of<T>(options.beta2);
    const auto rest2 = lanes_of<T>(1.0 - options.beta2);
    const auto eps = lanes_of<T>(options.eps);
    const auto decay = lanes_of<T>(options.weight_decay);
    const auto bias1 = lanes_of<T>(inv_bias);
    const auto bias2 = lanes_of<T>(inv_sqrt_bias);
    const T *g = rows.g + first, *w = rows.w + first;
    T *r = rows.r + first, *m = rows.m + first, *v = rows.v + first;
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto gradient = load(g + i);
        const auto mean = moved_average(beta1, rest1, load(m + i), gradient);
        const auto variance =
            moved_average(beta2, rest2, load(v + i), pk::pmul(gradient, gradient));
        store(m + i, mean);
        store(v + i, variance);
        const auto scale = pk::pmadd(pk::psqrt(variance), bias2, eps);
        const auto adam = pk::pdiv(pk::pmul(bias1, mean), scale);
        store(r + i, pk::pmadd(decay, load(w + i), adam));
    });
}

}  // namespace

template <class T>
void lamb_direction(const LambRows<T>& rows, double inv_bias, double inv_sqrt_bias,
                    const LambOptions& options) {
    if (rows.size == 1) {  // a bias: whole packets, and nothing to add up
        direction_pass(rows, 0, rows.count, inv_bias, inv_sqrt_bias, options);
        const auto square = [](const auto& x) { return pk::pmul(x, x); };
        map_packets(rows.w, rows.w_squares, rows.count, square);
        map_packets<T>(rows.r, rows.r_squares, rows.count, square);
        return;
    }
    for (Index row = 0; row < rows.count; ++row) {
        const Index first = row * rows.size;
        direction_pass(rows, first, rows.size, inv_bias, inv_sqrt_bias, options);
        const T *w = rows.w + first, *r = rows.r + first;
        rows.w_squares[row] = row_dot(w, w, rows.size);
        rows.r_squares[row] = row_dot(r, r, rows.size);
    }
}

template <class T>
double lamb_norm(const T* squares, Index rows) {
    return std::sqrt(static_cast<double>(row_sum(squares, rows)));
}

template <class T>
void lamb_update(const T* r, T* w, Index n, double learning_rate, double w_norm, double r_norm) {
    const double ratio = w_norm > 0.0 && r_norm > 0.0 ? w_norm / r_norm : 1.0;
    const auto size = lanes_of<T>(-learning_rate * ratio);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        store(w + i, pk::pmadd(size, load(r + i), load(w + i)));
    });
}

#define FASTPROP_INSTANTIATE(T)                                                              \
    template void lamb_direction<T>(const LambRows<T>&, double, double, const LambOptions&); \
    template double lamb_norm<T>(const T*, Index);                                           \
    template void lamb_update<T>(const T*, T*, Index, double, double, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
