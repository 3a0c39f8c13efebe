#pragma once
/// @file
/// @brief What is left of a division, on packets: exact, as the C library's fmod.
///
/// With an integer q, the product q b of 48 (106) bits is subtracted from a in full precision, and
/// what is left fits in a number. So the division may err by one in q, which the sign of the rest
/// tells. Quotients too large for that, and NaN, infinities and zeros, go to the C library, lane by
/// lane: the result is the same number, as it is exact on either way.

#include <cmath>
#include <limits>

#include "kernels/math.h"

namespace fastprop {

namespace remainder_detail {

template <class T>
struct Limits;

template <>
struct Limits<float> {
    static constexpr float kQuotient = 4194304.0f;       // 2^22: q and its neighbour are exact
    static constexpr float kSmallest = 8.67361738e-19f;  // 2^-60: nothing below underflows
    static constexpr float kLargest = 1.15292150e+18f;   // 2^60: nor overflows
    static constexpr float kSplit = 4097.0f;             // 2^12 + 1
};

template <>
struct Limits<double> {
    static constexpr double kQuotient = 2251799813685248.0;      // 2^51
    static constexpr double kSmallest = 3.054936363499605e-151;  // 2^-500
    static constexpr double kLargest = 3.273390607896142e+150;   // 2^500
    static constexpr double kSplit = 134217729.0;                // 2^27 + 1
};

#if defined(EIGEN_VECTORIZE_FMA)
/// a - q b, which must be a number.
template <class T>
EIGEN_STRONG_INLINE Vec<T> exact_rest(const Vec<T>& a, const Vec<T>& q, const Vec<T>& b) {
    return pk::pmadd(pk::pnegate(q), b, a);
}
#else
/// The upper half of the bits of x, by Veltkamp's method.
template <class T>
EIGEN_STRONG_INLINE Vec<T> upper_half(const Vec<T>& x) {
    const Vec<T> wide = pk::pmul(x, Simd<T>::set(Limits<T>::kSplit));
    return pk::psub(wide, pk::psub(wide, x));
}

/// a - q b, which must be a number, by Dekker's product.
template <class T>
EIGEN_STRONG_INLINE Vec<T> exact_rest(const Vec<T>& a, const Vec<T>& q, const Vec<T>& b) {
    const Vec<T> product = pk::pmul(q, b);
    const Vec<T> q1 = upper_half<T>(q), q2 = pk::psub(q, q1);
    const Vec<T> b1 = upper_half<T>(b), b2 = pk::psub(b, b1);
    Vec<T> error = pk::psub(pk::pmul(q1, b1), product);
    error = pk::padd(error, pk::pmul(q1, b2));
    error = pk::padd(error, pk::pmul(q2, b1));
    error = pk::padd(error, pk::pmul(q2, b2));
    return pk::psub(pk::psub(a, product), error);
}
#endif

/// std::fmod in every lane.
template <class T>
Vec<T> fmod_by_lanes(const Vec<T>& a, const Vec<T>& b) {
    alignas(64) T x[Simd<T>::width];
    alignas(64) T y[Simd<T>::width];
    Simd<T>::store(x, a);
    Simd<T>::store(y, b);
    for (int i = 0; i < Simd<T>::width; ++i) x[i] = std::fmod(x[i], y[i]);
    return Simd<T>::load(x);
}

}  // namespace remainder_detail

/// What truncated division leaves, with the sign of a; NaN where b is zero or a infinite.
template <class T>
EIGEN_STRONG_INLINE Vec<T> fmod_packet(const Vec<T>& a, const Vec<T>& b) {
    using L = remainder_detail::Limits<T>;
    using S = Simd<T>;
    const Vec<T> zero = S::set(T(0));
    const Vec<T> x = pk::pabs(a), y = pk::pabs(b);
    const Vec<T> quotient = pk::pdiv(x, y);
    const Vec<T> fits = pk::pand(
        pk::pcmp_lt(quotient, S::set(L::kQuotient)),
        pk::pand(pk::pcmp_le(S::set(L::kSmallest), y), pk::pcmp_le(y, S::set(L::kLargest))));
    if (pk::predux_min(pk::pand(fits, S::set(T(1)))) == T(0))
        return remainder_detail::fmod_by_lanes<T>(a, b);
    const Vec<T> rest = remainder_detail::exact_rest<T>(x, pk::pfloor(quotient), y);
    const Vec<T> low = pk::pcmp_lt(rest, zero);  // the quotient was rounded up to an integer
    return with_sign_of<T>(pk::pselect(low, pk::padd(rest, y), rest), a);
}

/// All bits set where the rest is not zero and has another sign than b.
template <class T>
EIGEN_STRONG_INLINE Vec<T> signs_differ(const Vec<T>& rest, const Vec<T>& b) {
    const Vec<T> zero = Simd<T>::set(T(0));
    return pk::por(pk::pand(pk::pcmp_lt(rest, zero), pk::pcmp_lt(zero, b)),
                   pk::pand(pk::pcmp_lt(zero, rest), pk::pcmp_lt(b, zero)));
}

/// What division rounded down leaves, with the sign of b, as Python's %.
template <class T>
EIGEN_STRONG_INLINE Vec<T> remainder_packet(const Vec<T>& a, const Vec<T>& b) {
    const Vec<T> zero = Simd<T>::set(T(0));
    const Vec<T> rest = fmod_packet<T>(a, b);
    const Vec<T> moved = pk::pselect(signs_differ<T>(rest, b), pk::padd(rest, b), rest);
    return pk::pselect(pk::pcmp_eq(rest, zero), with_sign_of<T>(zero, b), moved);
}

/// The largest integer that is no larger than the quotient (not than the rounded one: 1 // 0.1 is
/// 9, as 0.1 is a little more than a tenth), as Python's //; a / b where b is zero.
template <class T>
EIGEN_STRONG_INLINE Vec<T> floor_divide_packet(const Vec<T>& a, const Vec<T>& b) {
    using S = Simd<T>;
    const Vec<T> zero = S::set(T(0));
    const Vec<T> rest = fmod_packet<T>(a, b);
    const Vec<T> whole = pk::pdiv(pk::psub(a, rest), b);  // an integer, but for rounding
    const Vec<T> one_less = pk::pand(signs_differ<T>(rest, b), S::set(T(1)));
    const Vec<T> rounded = pk::print(pk::psub(whole, one_less));
    const Vec<T> plain = pk::pdiv(a, b);
    const Vec<T> with_zero =
        pk::pselect(pk::pcmp_eq(rounded, zero), with_sign_of<T>(zero, plain), rounded);
    return pk::pselect(pk::pcmp_eq(b, zero), plain, with_zero);
}

}  // namespace fastprop
