/// @file
/// @brief Averages of weights and sums of gradients on packets.

#include "kernels/update_average.h"

#include "kernels/update_pass.h"

namespace fastprop {

template <class T>
void average_update(const T* w, T* average, Index n, double share) {
    if (share == 0.0) return;  // the steps of SWA between two that count
    if (share == 1.0) {
        std::copy_n(w, n, average);
        return;
    }
    const auto part = lanes_of<T>(share);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto before = load(average + i);
        store(average + i, pk::pmadd(part, pk::psub(load(w + i), before), before));
    });
}

template <class T>
void accumulate_gradient(const T* g, T* sum, Index n, double keep, double factor) {
    const auto scale = lanes_of<T>(factor);
    for_packets<T>(n, [&](const auto& load, const auto& store, Index i) {
        const auto part = pk::pmul(scale, load(g + i));
        store(sum + i, keep == 0.0 ? part : pk::padd(load(sum + i), part));
    });
}

template void average_update<float>(const float*, float*, Index, double);
template void average_update<double>(const double*, double*, Index, double);
template void accumulate_gradient<float>(const float*, float*, Index, double, double);
template void accumulate_gradient<double>(const double*, double*, Index, double, double);

}  // namespace fastprop
