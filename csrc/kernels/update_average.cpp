/// @file
/// @brief Averages of weights on packets.

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

template void average_update<float>(const float*, float*, Index, double);
template void average_update<double>(const double*, double*, Index, double);

}  // namespace fastprop
