#pragma once
/// @file
/// @brief Mixup (Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018).

#include "kernels/random.h"

namespace fastprop {

/// max(s, 1 - s) for a number s of the distribution Beta(alpha, alpha), a function of the stream
/// alone. Both halves of a batch that is mixed with its mirror image get the same pairs, so the
/// larger share loses nothing, and a row keeps the most of itself.
double mixup_share(const RandomStream& stream, double alpha);

/// Rows [first, first + n) of `share` x + (1 - `share`) x', where x' is the batch x[rows, row_size]
/// in reverse order.
template <class T>
void mix_with_mirror(const T* x, T* y, double share, Index rows, Index row_size, Index first,
                     Index n);

}  // namespace fastprop
