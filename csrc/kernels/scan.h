#pragma once
/// @file
/// @brief Running sums along an axis, and the order that sorts a row.

#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// y[o, k, :] = x[o, 0, :] + … + x[o, k, :], one after the other; from the end if `reverse`.
/// x and y are [outer, extent, inner]; of y only `own` indices of the axis are written. A share of
/// the axis is summed from its beginning all the same, so that no thread waits for another and all
/// find the same bits. Integers wrap around: of type uint64, the bits of signed ones.
template <class T>
void cumulative_sum(const T* x, T* y, Range outer, Index extent, Range own, Index inner,
                    bool reverse);

/// y[r] = the order in which row r's n elements ascend (or descend): equal ones stay in order, NaN
/// counts as the largest.
template <class T>
void argsort_rows(const T* x, std::int64_t* y, Index rows, Index n, bool descending);

}  // namespace fastprop
