/// What is left to do with finished sums that a tile has stored.

#pragma once

#include "kernels/activation.h"
#include "kernels/gemm.h"

namespace fastprop {

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
