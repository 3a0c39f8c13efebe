#pragma once
/// @file
/// @brief Functions of one element, or of two that broadcast against each other.
///
/// Comparisons give 1 and 0. NaN follows NumPy: maximum and minimum hand it on, every comparison
/// with it is false, not_equal true. An element's bits depend on its operands alone, whatever the
/// path.

#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/tensor_view.h"
#include "core/types.h"

namespace fastprop {

struct BroadcastPlan;

enum class Unary {
    neg,
    exp,
    log,
    sqrt,
    rsqrt,
    abs,
    sign,  ///< 0 at zero
    square,
    reciprocal,
    sin,
    cos,
    erf,
    log1p,
    expm1,
    tan,
    asin,
    acos,
    atan,
    sinh,
    cosh,
    asinh,
    acosh,
    atanh,
    floor,
    ceil,
    round,  ///< halves to the even number
    trunc,
    log2,
};

enum class Binary {
    add,
    sub,
    mul,
    div,
    pow,
    maximum,
    minimum,
    greater,
    greater_equal,
    less,
    less_equal,
    equal,
    not_equal,
    remainder,     ///< with the sign of b; of integers by zero 0
    fmod,          ///< with the sign of a; the same
    floor_divide,  ///< the same
    atan2,
    hypot,
    logaddexp,
};

/// Functions of two numbers that integers have, too.
constexpr bool of_integers(Binary op) {
    return op != Binary::div && op != Binary::atan2 && op != Binary::hypot &&
           op != Binary::logaddexp;
}

/// y = f(x) on n elements; in place is allowed.
template <class T, Unary op>
void unary(const T* x, T* y, Index n);

/// y = f(a, b) on the plan's rows. y may be an operand that is not broadcast.
template <class T, Binary op>
void binary(const BroadcastPlan& plan, const T* a, const T* b, T* y);

/// The same on n elements; of an operand with the stride 0 all are one, with 1 they follow each
/// other.
template <class T, Binary op>
void binary_row(const T* a, Index a_stride, const T* b, Index b_stride, T* y, Index n);

/// neg, abs, sign and square of integers, which wrap around. The others do not exist; they would
/// leave y as it is.
void unary_integer(Unary op, const std::int64_t* x, std::int64_t* y, Index n);

/// The same for two: sums, differences, products and powers (which wrap around), extremes,
/// comparisons, remainders. A negative power is rounded toward zero. Those that are not
/// of_integers would leave y as it is.
void binary_integer(Binary op, const BroadcastPlan& plan, const std::int64_t* a,
                    const std::int64_t* b, std::int64_t* y);

template <class T>
void fill(T value, T* y, Index n);

/// y = x converted to another element type. To integers: rounded toward zero, what is beyond their
/// range as its end, NaN as 0.
template <class From, class To>
void cast(const From* x, To* y, Index n) {
    for (Index i = 0; i < n; ++i) {
        if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
            constexpr From limit = static_cast<From>(std::uint64_t{1} << 63);
            y[i] = x[i] != x[i]    ? To(0)
                   : x[i] >= limit ? std::numeric_limits<To>::max()
                   : x[i] < -limit ? std::numeric_limits<To>::min()
                                   : static_cast<To>(x[i]);
        } else {
            y[i] = static_cast<To>(x[i]);
        }
    }
}

}  // namespace fastprop
