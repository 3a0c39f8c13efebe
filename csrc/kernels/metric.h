#pragma once
/// @file
/// @brief Metrics that count: one number in [0, 1] a row.

#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// rows[i] = 1 if labels[i] is among the k largest of scores[i, :], else 0. Of equal scores the one
/// with the lower index counts as larger, so k = 1 agrees with argmax. A label out of range, or one
/// with a NaN score, is never correct.
template <class T>
void top_k_correct(const T* scores, const std::int64_t* labels, T* correct, Index rows,
                   Index classes, Index k);

/// correct[i] = share of the row's elements with (pred > threshold) == (target > 0.5).
template <class T>
void binary_correct(const T* pred, const T* target, T* correct, Index rows, Index row_size,
                    double threshold);

}  // namespace fastprop
