/// @file
/// @brief RMSprop, Adagrad and Adadelta on packets.

#include "kernels/update_adaptive.h"

#include "kernels/update_pass.h"

namespace fastprop {
namespace {

template <bool kMomentum, bool kCentered, class T>
void rmsprop_pass(const T* g, T* w, T* square, T* buf, T* mean, Index n, double learning_rate,
                  const RmspropOptions& options) {
    const auto rate = lanes_of<T>(-learning_rate);
    const auto alpha = lanes_of<T>(options.alpha);
    const auto rest = lanes_of<T>(1.0 - options.alpha);
    const auto eps = lanes_of<T>(options.eps);
    const auto decay = lanes_of<T>(options.weight_decay);
    const auto momentum = lanes_of<T>(options.momentum);
    const auto zero = lanes_of<T>(0);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto weight = load(w + i);
        const auto gradient = pk::pmadd(decay, weight, load(g + i));
        auto variance = moved_average(alpha, rest, load(square + i), pk::pmul(gradient, gradient));
        store(square + i, variance);
        if (kCentered) {
            const auto average = moved_average(alpha, rest, load(mean + i), gradient);
            store(mean + i, average);
            // Never below zero but for rounding, which would make the root NaN.
            variance = larger_of(pk::psub(variance, pk::pmul(average, average)), zero);
        }
        auto step = pk::pdiv(gradient, pk::padd(pk::psqrt(variance), eps));
        if (kMomentum) {
            step = pk::pmadd(momentum, load(buf + i), step);
            store(buf + i, step);
        }
        store(w + i, pk::pmadd(rate, step, weight));
    });
}

}  // namespace

template <class T>
void rmsprop_update(const T* g, T* w, T* square, T* buf, T* mean, Index n, double learning_rate,
                    const RmspropOptions& options) {
    const bool centered = mean != nullptr;
    const auto pass =
        options.momentum == 0.0
            ? (centered ? rmsprop_pass<false, true, T> : rmsprop_pass<false, false, T>)
            : (centered ? rmsprop_pass<true, true, T> : rmsprop_pass<true, false, T>);
    pass(g, w, square, buf, mean, n, learning_rate, options);
}

template <class T>
void adagrad_update(const T* g, T* w, T* sum, Index n, double rate, double weight_decay,
                    double eps) {
    const auto size = lanes_of<T>(-rate);
    const auto decay = lanes_of<T>(weight_decay);
    const auto floor = lanes_of<T>(eps);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto weight = load(w + i);
        const auto gradient = pk::pmadd(decay, weight, load(g + i));
        const auto total = pk::pmadd(gradient, gradient, load(sum + i));
        store(sum + i, total);
        const auto step = pk::pdiv(gradient, pk::padd(pk::psqrt(total), floor));
        store(w + i, pk::pmadd(size, step, weight));
    });
}

template <class T>
void adadelta_update(const T* g, T* w, T* square, T* moves, Index n, double learning_rate,
                     const AdadeltaOptions& options) {
    const auto rate = lanes_of<T>(-learning_rate);
    const auto rho = lanes_of<T>(options.rho);
    const auto rest = lanes_of<T>(1.0 - options.rho);
    const auto eps = lanes_of<T>(options.eps);
    const auto decay = lanes_of<T>(options.weight_decay);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto weight = load(w + i);
        const auto gradient = pk::pmadd(decay, weight, load(g + i));
        const auto variance =
            moved_average(rho, rest, load(square + i), pk::pmul(gradient, gradient));
        store(square + i, variance);
        const auto moved = load(moves + i);
        const auto ratio =
            pk::pdiv(pk::psqrt(pk::padd(moved, eps)), pk::psqrt(pk::padd(variance, eps)));
        const auto step = pk::pmul(ratio, gradient);
        store(moves + i, moved_average(rho, rest, moved, pk::pmul(step, step)));
        store(w + i, pk::pmadd(rate, step, weight));
    });
}

#define FASTPROP_INSTANTIATE(T)                                                       \
    template void rmsprop_update<T>(const T*, T*, T*, T*, T*, Index, double,          \
                                    const RmspropOptions&);                           \
    template void adagrad_update<T>(const T*, T*, T*, Index, double, double, double); \
    template void adadelta_update<T>(const T*, T*, T*, T*, Index, double, const AdadeltaOptions&);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
