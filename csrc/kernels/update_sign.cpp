/// @file
/// @brief Lion and Rprop on packets.

#include "kernels/update_sign.h"

#include "kernels/update_pass.h"

namespace fastprop {

template <class T>
void lion_update(const T* g, T* w, T* m, Index n, double learning_rate,
                 const LionOptions& options) {
    const auto rate = lanes_of<T>(-learning_rate);
    const auto beta1 = lanes_of<T>(options.beta1);
    const auto rest1 = lanes_of<T>(1.0 - options.beta1);
    const auto beta2 = lanes_of<T>(options.beta2);
    const auto rest2 = lanes_of<T>(1.0 - options.beta2);
    const auto shrink = lanes_of<T>(1.0 - learning_rate * options.weight_decay);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto gradient = load(g + i);
        const auto average = load(m + i);
        const auto step = sign_of<T>(moved_average(beta1, rest1, average, gradient));
        store(m + i, moved_average(beta2, rest2, average, gradient));
        store(w + i, pk::pmadd(rate, step, pk::pmul(load(w + i), shrink)));
    });
}

template <class T>
void rprop_update(const T* g, T* w, T* previous, T* size, Index n, const RpropOptions& options) {
    const auto zero = lanes_of<T>(0), one = lanes_of<T>(1);
    const auto eta_minus = lanes_of<T>(options.eta_minus);
    const auto eta_plus = lanes_of<T>(options.eta_plus);
    const auto smallest = lanes_of<T>(options.smallest);
    const auto largest = lanes_of<T>(options.largest);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto gradient = load(g + i);
        // Signs are multiplied, not gradients: the product of two small ones would be zero.
        const auto sign = sign_of<T>(gradient);
        const auto agreement = pk::pmul(sign, sign_of<T>(load(previous + i)));
        const auto kept = pk::pcmp_lt(zero, agreement);
        const auto turned = pk::pcmp_lt(agreement, zero);
        const auto factor = pk::pselect(kept, eta_plus, pk::pselect(turned, eta_minus, one));
        const auto scaled = pk::pmul(load(size + i), factor);
        const auto step = pk::pmin(pk::pmax(scaled, smallest), largest);
        store(size + i, step);
        store(previous + i, pk::pselect(turned, zero, gradient));
        const auto move = pk::pselect(turned, zero, sign);
        store(w + i, pk::psub(load(w + i), pk::pmul(move, step)));
    });
}

#define FASTPROP_INSTANTIATE(T)                                                        \
    template void lion_update<T>(const T*, T*, T*, Index, double, const LionOptions&); \
    template void rprop_update<T>(const T*, T*, T*, T*, Index, const RpropOptions&);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
