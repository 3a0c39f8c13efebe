#pragma once
/// @file
/// @brief Values moved without arithmetic: broadcasting and transposition. U is any type of the
/// element's size; its bits are copied.

#include "core/tensor_view.h"
#include "core/types.h"

namespace fastprop {

struct BroadcastPlan;

/// y = x repeated to the plan's shape.
template <class U>
void broadcast(const BroadcastPlan& plan, const U* x, U* y);

/// y[i0, i1, …] = x[j…] with j[permutation[a]] = i[a], for the rows [rows.begin, rows.end) of axis
/// 0 of y. The permutation has in.rank entries.
template <class U>
void transpose(const TensorView& in, const int* permutation, const U* x, U* y, Range rows);

}  // namespace fastprop
