#pragma once
/// @file
/// @brief C = A B with an epilogue, on one thread; every dense layer and `matmul` ends up here.
///
/// Each element of C is summed over k in order with one (fused) multiply-add per k, starting from
/// zero; the bias is added to the finished sum. So bits are the same for packed and unpacked
/// operands, for every slice of the rows, and for `matmul` followed by `add`.

#include "core/types.h"
#include "kernels/activation.h"

namespace fastprop {

/// A [m, k], read where it lies.
template <class T>
struct GemmLeft {
    const T* data;
    Index stride;             ///< elements from row to row of the stored matrix
    bool transposed = false;  ///< stored as [k, m]
};

enum class GemmLayout {
    rows,        ///< [k, n], `stride` from row to row
    transposed,  ///< stored as [n, k], `stride` from row to row
    panels,      ///< packed by kernels/pack.h, `stride` from panel to panel
};

/// B [k, n].
template <class T>
struct GemmRight {
    const T* data;
    Index stride;
    GemmLayout layout = GemmLayout::rows;
};

/// What happens to the finished sums, in this order. Pointers to matrices use C's strides.
template <class T>
struct GemmEpilogue {
    const T* bias = nullptr;  ///< [n], added
    T* z = nullptr;           ///< gets the values before the activation
    Activation activation = Activation{};
    T p0 = T(0);
    T p1 = T(0);
    /// Null: c = f(sum). Otherwise c = sum * f'(h): the backward pass through the layer below.
    const T* h = nullptr;
    bool scalar_bias = false;  ///< bias is one value for all columns
    bool accumulate = false;   ///< the sums begin with what is in C
};

/// Writes C [m, n] at `c`, rows `c_stride` apart. C may not overlap A, B or the epilogue's
/// operands, but it may be `h` where gemm_may_overwrite_h says so.
template <class T>
void gemm(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
          Index k, const GemmEpilogue<T>& epilogue = {});

/// Whether C is written once only, with sums that were finished and masked in registers.
template <class T>
bool gemm_may_overwrite_h(Activation activation, Index m, Index n, Index k);

}  // namespace fastprop
