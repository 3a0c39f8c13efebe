#pragma once
/// @file
/// @brief Products of few columns that do not fill panels: layers of 10, 20 or 50 units.

#include "kernels/gemm.h"

namespace fastprop {

/// Does the product if C has a packet or more of columns that leave the last panel incomplete, and
/// B is small; else returns false and touches nothing. Each element is the chain of multiply-adds
/// that the tile computes, so bits are the same.
template <class T>
bool gemm_narrow(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m,
                 Index n, Index k, const GemmEpilogue<T>& epilogue);

}  // namespace fastprop
