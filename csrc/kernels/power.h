#pragma once
/// @file
/// @brief Powers of single numbers.

#include <cmath>
#include <cstdint>

namespace fastprop {

/// Whether power() does such an exponent by exact products, divisions and roots. Derivative rules
/// and users write these most; the choice is made by the exponent itself, so that it does not
/// depend on how the operand is stored.
template <class T>
bool is_simple_exponent(T b) {
    return b == T(2) || b == T(1) || b == T(-1) || b == T(3) || b == T(0.5);
}

/// a^b.
template <class T>
T power(T a, T b) {
    if (b == T(2)) return a * a;
    if (b == T(1)) return a;
    if (b == T(-1)) return T(1) / a;
    if (b == T(3)) return a * a * a;
    if (b == T(0.5) && a >= T(0)) return std::sqrt(a + T(0));  // + 0: the root of -0 is 0 here
    return std::pow(a, b);
}

/// a^b for integers, by squaring.
inline std::int64_t power(std::int64_t a, std::int64_t b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    std::uint64_t result = 1;
    for (auto base = static_cast<std::uint64_t>(a); b > 0; b >>= 1, base *= base)
        if (b % 2 != 0) result *= base;
    return static_cast<std::int64_t>(result);
}

/// b a^(b - 1), the derivative of z = a^b by a; zero where b is, also at a = 0. A quotient, where z
/// is a number with all its bits: nearer to the derivative than a power whose exponent was rounded,
/// and a fifth of its time.
template <class T>
T power_base_slope(T a, T b, T z) {
    if (b == T(0)) return T(0);
    const T lower = b - T(1);
    const bool divides = a != T(0) && std::isfinite(a) && std::isnormal(z);
    return b * (divides && !is_simple_exponent(lower) ? z / a : power(a, lower));
}

}  // namespace fastprop
