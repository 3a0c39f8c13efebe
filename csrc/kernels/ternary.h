#pragma once
/// @file
/// @brief Functions of three elements that broadcast against each other.

#include "kernels/broadcast.h"

namespace fastprop {

enum class Ternary {
    where,               ///< b where a is not zero, else c (a NaN in a counts as not zero)
    pow_base_slope,      ///< of c = a^b: b a^(b - 1), zero where b is
    pow_exponent_slope,  ///< of c = a^b: c log(a), zero where a is and b is not negative
};

/// y = f(a, b, c) on the plan's rows. y may be an operand that is not broadcast. For integers there
/// is `where` alone.
template <class T, Ternary op>
void ternary(const BroadcastPlan& plan, const T* a, const T* b, const T* c, T* y);

/// The same on n elements; of an operand with the stride 0 all are one, with 1 they follow each
/// other.
template <class T, Ternary op>
void ternary_row(const T* a, Index a_stride, const T* b, Index b_stride, const T* c, Index c_stride,
                 T* y, Index n);

}  // namespace fastprop
