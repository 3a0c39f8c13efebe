/// @file
/// @brief Gradient descent on packets.

#include "kernels/update_sgd.h"

#include "kernels/update_pass.h"

namespace fastprop {
namespace {

template <bool kMomentum, bool kDecay, class T>
void sgd_pass(const T* g, T* w, T* buf, Index n, double learning_rate, double gradient_factor,
              const SgdOptions& options) {
    const auto rate = lanes_of<T>(-learning_rate);
    const auto factor = lanes_of<T>(gradient_factor);
    const auto momentum = lanes_of<T>(options.momentum);
    const auto decay = lanes_of<T>(options.weight_decay);
    const bool nesterov = options.nesterov;
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto weight = load(w + i);
        auto step = load(g + i);
        if (kDecay) step = pk::pmadd(decay, weight, step);
        if (kMomentum) {
            const auto average = moved_average(momentum, factor, load(buf + i), step);
            store(buf + i, average);
            step = nesterov ? pk::pmadd(momentum, average, step) : average;
        }
        store(w + i, pk::pmadd(rate, step, weight));
    });
}

}  // namespace

template <class T>
void sgd_update(const T* g, T* w, T* buf, Index n, double learning_rate, double gradient_factor,
                const SgdOptions& options) {
    const bool decays = options.weight_decay != 0.0;
    const auto pass = options.momentum == 0.0
                          ? (decays ? sgd_pass<false, true, T> : sgd_pass<false, false, T>)
                          : (decays ? sgd_pass<true, true, T> : sgd_pass<true, false, T>);
    pass(g, w, buf, n, learning_rate, gradient_factor, options);
}

#define FASTPROP_INSTANTIATE(T) \
    template void sgd_update<T>(const T*, T*, T*, Index, double, double, const SgdOptions&);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
