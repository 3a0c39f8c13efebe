#pragma once
/// @file
/// @brief Mixup (Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018).

#include "kernels/random.h"

namespace fastprop {

/// max(s, 1 - s) for a number s of the distribution Beta(alpha, alpha), a function of the stream
/// alone. A shift by k rows and one by rows - k pair the same rows and are equally likely, so the
/// larger share loses nothing, and a row keeps the most of itself.
double mixup_share(const RandomStream& stream, double alpha);

/// How many rows further on the partner of a row is: from 1 to rows - 1, all equally likely; 0 for
/// a single row. So every two rows of a batch are a pair equally often, as with a random
/// permutation, whatever order the rows have, and no permutation has to be made or kept.
Index mixup_shift(const RandomStream& stream, Index rows);

/// Rows [first, first + n) of `share` x + (1 - `share`) x', where x' is the batch x[rows, row_size]
/// from row `shift` on, with the rows before that at its end; 0 <= shift < rows.
template <class T>
void mix_with_shifted(const T* x, T* y, double share, Index shift, Index rows, Index row_size,
                      Index first, Index n);

}  // namespace fastprop
