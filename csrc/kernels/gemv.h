#pragma once
/// @file
/// @brief Some rows of a matrix times a vector, wherever the rows lie, and what remains to be done
/// to finished sums.

#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/gemm_tile.h"

// A packet as a template argument loses its alignment attribute, which a local variable does not
// need.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace fastprop {

/// Asks for nothing while rows are read.
struct NoPrefetch {
    void operator()(Index) const {}
};

/// kGroups times `width` rows times x; row r begins at from[r], `rows` results are stored. Squares
/// are transposed in registers, so that packets lie along the rows; a copy in that order, as for a
/// large product, took twice the time on Zen 3. `ahead(i)` is called before column i is read.
template <class T, int kGroups, class Ahead = NoPrefetch>
void gemv_rows(const T* const* from, const T* x, Index x_step, T* y, Index rows, Index k,
               const Ahead& ahead = {}) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    constexpr int width = S::width;
    Packet sum[kGroups];
    FASTPROP_UNROLL
    for (int g = 0; g < kGroups; ++g) sum[g] = S::set(T(0));
    Index i = 0;
    for (; i + width <= k; i += width) {
        ahead(i);
        FASTPROP_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            pk::PacketBlock<Packet, width> block;
            FASTPROP_UNROLL
            for (int r = 0; r < width; ++r) block.packet[r] = S::load(from[g * width + r] + i);
            pk::ptranspose(block);
            FASTPROP_UNROLL
            for (int l = 0; l < width; ++l) {
                sum[g] = pk::pmadd(block.packet[l], S::set(x[(i + l) * x_step]), sum[g]);
            }
        }
    }
    for (; i < k; ++i) {
        const Packet right = S::set(x[i * x_step]);
        FASTPROP_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            alignas(64) T column[width];
            for (int r = 0; r < width; ++r) column[r] = from[g * width + r][i];
            sum[g] = pk::pmadd(pk::pload<Packet>(column), right, sum[g]);
        }
    }
    FASTPROP_UNROLL
    for (int g = 0; g < kGroups; ++g) {
        const Index left = std::min<Index>(rows - g * width, width);
        if (left > 0) S::store_partial(y + g * width, sum[g], left);
    }
}

/// What remains to be done to n finished sums of a row or a column, from element `at` of C on.
template <class T>
void finish_sums(T* c, Index at, Index n, const T* bias, bool scalar_bias,
                 const GemmEpilogue<T>& e) {
    using S = Simd<T>;
    if (bias != nullptr) {
        for (Index j = 0; j < n; j += S::width) {
            const Index lanes = std::min<Index>(n - j, S::width);
            const auto right = scalar_bias ? S::set(*bias) : S::load_partial(bias + j, lanes);
            S::store_partial(c + j, pk::padd(S::load_partial(c + j, lanes), right), lanes);
        }
    }
    if (e.z != nullptr) std::copy(c, c + n, e.z + at);
    if (e.activation == Activation::identity) return;
    if (e.h != nullptr) {
        activation_backward(e.activation, e.p0, e.p1, e.h + at, c, c, n);
    } else {
        activation_forward(e.activation, e.p0, e.p1, c, c, n);
    }
}

}  // namespace fastprop
