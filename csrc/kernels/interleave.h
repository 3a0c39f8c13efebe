#pragma once
/// @file
/// @brief Columns of a table as rows of a matrix.

#include "core/types.h"

namespace fastprop {

/// y[r * count + c] = columns[c][r] for r < rows. U is any type of the element's size; its bits are
/// copied.
template <class U>
void interleave(const U* const* columns, Index count, Index rows, U* y);

}  // namespace fastprop
