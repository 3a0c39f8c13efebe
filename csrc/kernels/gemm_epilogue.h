#pragma once
/// @file
/// @brief What is done to finished sums: by the tile in registers, or behind it in cache.

#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/gemm_tile.h"

namespace fastprop {

/// Whether the tile applies the activation, or its derivative.
template <class T>
bool is_in_registers(const GemmEpilogue<T>& e) {
    return e.activation == Activation::identity || e.activation == Activation::relu;
}

/// Points a tile at C[i, j], `at` elements behind its beginning, and, if its sums will be finished,
/// at what its epilogue needs there.
template <class T>
void place_tile(TileCall<T>& t, const GemmEpilogue<T>& e, T* c, Index c_stride, Index at, Index j,
                bool finished) {
    t.c = c + at;
    t.c_stride = c_stride;
    if (!finished) return;
    const bool relu = e.activation == Activation::relu;
    t.bias = e.bias && !e.scalar_bias ? e.bias + j : e.bias;
    t.scalar_bias = e.scalar_bias;
    t.z = e.z ? e.z + at : nullptr;
    t.mask = relu && e.h ? e.h + at : nullptr;
    t.relu = relu && !e.h;
}

/// An activation, or its derivative, that needs more registers than a tile leaves: on m rows of n
/// sums from `at` of C on, while they are still in cache.
template <class T>
void apply_activation(const GemmEpilogue<T>& e, T* c, Index c_stride, Index at, Index m, Index n) {
    const bool contiguous = n == c_stride;
    const Index rows = contiguous ? 1 : m;
    const Index columns = contiguous ? m * n : n;
    for (Index r = 0; r < rows; ++r, at += c_stride) {
        if (e.h) {
            activation_backward(e.activation, e.p0, e.p1, e.h + at, c + at, c + at, columns);
        } else {
            activation_forward(e.activation, e.p0, e.p1, c + at, c + at, columns);
        }
    }
}

}  // namespace fastprop
