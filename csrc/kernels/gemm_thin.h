#pragma once
/// @file
/// @brief Products too thin for the register tile: a matrix times a vector, a few columns times a
/// few rows.

#include "kernels/gemm.h"

namespace fastprop {

/// Does the product if it is a thin one; else returns false and touches nothing. Each element is
/// the chain of multiply-adds that the tile computes, so bits are the same.
template <class T>
bool gemm_thin(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
               Index k, const GemmEpilogue<T>& epilogue);

}  // namespace fastprop
