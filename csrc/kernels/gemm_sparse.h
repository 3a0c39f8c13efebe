#pragma once
/// @file
/// @brief Products whose left operand has many zeros: what ReLU, dropout and images leave.

#include "kernels/gemm.h"

namespace fastprop {

/// Does the product without the multiply-adds by zeros of A if that is faster; else returns false
/// and touches nothing. The bits are those of the register tile, also where B is not finite.
template <class T>
bool gemm_sparse(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m,
                 Index n, Index k, const GemmEpilogue<T>& epilogue);

}  // namespace fastprop
