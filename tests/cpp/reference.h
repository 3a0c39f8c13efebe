#pragma once
/// @file
/// @brief Plain implementations, in double, that kernels are tested against; and test data.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/tensor_view.h"

namespace fastprop::test {

/// Repeatable values on [-1, 1), different for every seed.
template <class T>
std::vector<T> random_values(Index n, std::uint64_t seed) {
    std::vector<T> values(static_cast<std::size_t>(n));
    std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (T& value : values) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        value = static_cast<T>(static_cast<double>(state >> 11) / 4503599627370496.0 - 1.0);
    }
    return values;
}

template <class T>
std::vector<T> nan_values(Index n) {
    return std::vector<T>(static_cast<std::size_t>(n), std::numeric_limits<T>::quiet_NaN());
}

/// C = A B; the strides say where element (i, k) of A and (k, j) of B lie.
template <class T>
std::vector<double> matmul(const T* a, Index a_row, Index a_k, const T* b, Index b_k,
                           Index b_column, Index m, Index n, Index k) {
    std::vector<double> c(static_cast<std::size_t>(m * n));
    for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < n; ++j) {
            double sum = 0;
            for (Index l = 0; l < k; ++l) {
                sum += static_cast<double>(a[i * a_row + l * a_k]) *
                       static_cast<double>(b[l * b_k + j * b_column]);
            }
            c[static_cast<std::size_t>(i * n + j)] = sum;
        }
    }
    return c;
}

/// What a sum of k products of such values, rounded k times, may be off by: partial sums have the
/// size of sqrt(k) / 3, and their roundings add up like a random walk; a factor 4 for the worst of
/// many.
template <class T>
double sum_tolerance(Index k) {
    return static_cast<double>(std::numeric_limits<T>::epsilon()) * (4.0 + static_cast<double>(k));
}

template <class T>
TensorView view(const std::vector<T>& values, std::initializer_list<Index> shape) {
    TensorView v;
    v.data = const_cast<T*>(values.data());
    v.dtype = DTypeOf<T>::value;
    for (Index extent : shape) v.shape[v.rank++] = extent;
    return v;
}

}  // namespace fastprop::test
