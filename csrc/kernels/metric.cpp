/// @file
/// @brief Counting metrics. Counts are exact integers, so plain loops are free to be vectorized.

#include "kernels/metric.h"

namespace fastprop {

template <class T>
void top_k_correct(const T* scores, const std::int64_t* labels, T* correct, Index rows,
                   Index classes, Index k) {
    for (Index row = 0; row < rows; ++row) {
        const std::int64_t label = labels[row];
        const T* x = scores + row * classes;
        if (label < 0 || label >= classes || x[label] != x[label]) {
            correct[row] = T(0);
            continue;
        }
        const T own = x[label];
        std::int32_t ahead = 0;  // scores that come before the label's
        const std::int32_t at = static_cast<std::int32_t>(label);
        const std::int32_t count = static_cast<std::int32_t>(classes);
        for (std::int32_t j = 0; j < count; ++j)
            ahead += static_cast<std::int32_t>(x[j] > own) |
                     (static_cast<std::int32_t>(x[j] == own) & static_cast<std::int32_t>(j < at));
        correct[row] = ahead < k ? T(1) : T(0);
    }
}

template <class T>
void binary_correct(const T* pred, const T* target, T* correct, Index rows, Index row_size,
                    double threshold) {
    const T limit = static_cast<T>(threshold);
    for (Index row = 0; row < rows; ++row) {
        const T* p = pred + row * row_size;
        const T* t = target + row * row_size;
        Index equal = 0;
        for (Index j = 0; j < row_size; ++j)
            equal += static_cast<Index>((p[j] > limit) == (t[j] > T(0.5)));
        correct[row] = static_cast<T>(static_cast<double>(equal) / static_cast<double>(row_size));
    }
}

#define FASTPROP_INSTANTIATE(T)                                                             \
    template void top_k_correct<T>(const T*, const std::int64_t*, T*, Index, Index, Index); \
    template void binary_correct<T>(const T*, const T*, T*, Index, Index, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
