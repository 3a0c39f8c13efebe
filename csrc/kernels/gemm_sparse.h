#pragma once
/// @file
/// @brief Products whose left operand has many zeros: what ReLU, dropout and images leave.

#include "kernels/gemm.h"

namespace fastprop {

/// Whose zeros a product skips.
enum class Zeros { none, left, right };

/// Those that save time, from a sample of the elements: bits are the same for each answer.
template <class T>
Zeros zeros_to_skip(const GemmLeft<T>& a, const GemmRight<T>& b, Index m, Index n, Index k,
                    const GemmEpilogue<T>& epilogue);

/// The product without the multiply-adds by zeros of A; its bits are those of the register tile,
/// also where B is not finite. `zeros` is left, or right if there is no epilogue and B is not
/// packed. Does not accumulate.
template <class T>
void gemm_sparse(Zeros zeros, const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride,
                 Index m, Index n, Index k, const GemmEpilogue<T>& epilogue = {});

}  // namespace fastprop
