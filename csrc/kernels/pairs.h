#pragma once
/// @file
/// @brief Functions of two numbers on packets: atan2, hypot, logaddexp; the rules of math.h hold.

#include <limits>

#include "kernels/inverse_trigonometry.h"
#include "kernels/math.h"

namespace fastprop {

/// The sizes of two numbers, the larger one and the smaller one; a NaN makes one of them NaN.
template <class T>
struct Sizes {
    Vec<T> swapped;  ///< all bits set where the first is the smaller one
    Vec<T> large, small;

    EIGEN_STRONG_INLINE Sizes(const Vec<T>& a, const Vec<T>& b) {
        const Vec<T> x = pk::pabs(a), y = pk::pabs(b);
        swapped = pk::pcmp_lt(x, y);
        large = pk::pselect(swapped, y, x);
        small = pk::pselect(swapped, x, y);
    }

    /// small / large, where 0 / 0 is 0 and an infinity by another 1.
    EIGEN_STRONG_INLINE Vec<T> ratio() const {
        using S = Simd<T>;
        const Vec<T> plain = pk::pdiv(small, large);
        const Vec<T> finite = pk::pselect(pk::pcmp_eq(small, large), S::set(T(1)), plain);
        const Vec<T> nothing = pk::pcmp_eq(large, S::set(T(0)));
        return pk::pselect(nothing, pk::pmul(small, large), finite);  // a NaN stays
    }
};

/// The angle of the point (x, y), from -pi to pi, as the C library's, signs of zeros included.
template <class T>
EIGEN_STRONG_INLINE Vec<T> atan2_packet(const Vec<T>& y, const Vec<T>& x) {
    using C = ArcConstants<T>;
    using S = Simd<T>;
    const Sizes<T> sizes(x, y);
    Vec<T> angle = atan_packet<T>(sizes.ratio());
    const Vec<T> steep = pk::psub(S::set(C::kHalfPi), pk::psub(angle, S::set(C::kHalfPiLow)));
    angle = pk::pselect(sizes.swapped, steep, angle);
    const Vec<T> left = pk::pcmp_lt(with_sign_of<T>(S::set(T(1)), x), S::set(T(0)));  // or -0
    const Vec<T> beyond =
        pk::psub(S::set(T(2) * C::kHalfPi), pk::psub(angle, S::set(T(2) * C::kHalfPiLow)));
    return with_sign_of<T>(pk::pabs(pk::pselect(left, beyond, angle)), y);
}

/// sqrt(a^2 + b^2) without overflow; infinite where one of them is, whatever the other.
template <class T>
EIGEN_STRONG_INLINE Vec<T> hypot_packet(const Vec<T>& a, const Vec<T>& b) {
    using S = Simd<T>;
    const Vec<T> infinity = S::set(std::numeric_limits<T>::infinity());
    const Sizes<T> sizes(a, b);
    const Vec<T> ratio = sizes.ratio();
    const Vec<T> length = pk::pmul(sizes.large, pk::psqrt(pk::pmadd(ratio, ratio, S::set(T(1)))));
    const Vec<T> infinite =
        pk::por(pk::pcmp_eq(sizes.large, infinity), pk::pcmp_eq(sizes.small, infinity));
    return pk::pselect(infinite, infinity, length);
}

/// log(e^a + e^b) = max(a, b) + log1p(e^-|a - b|), without overflow.
template <class T>
EIGEN_STRONG_INLINE Vec<T> logaddexp_packet(const Vec<T>& a, const Vec<T>& b) {
    using S = Simd<T>;
    const Vec<T> larger = pk::pselect(pk::pcmp_lt(a, b), b, a);  // a NaN stays in the difference
    const Vec<T> apart = pk::pselect(pk::pcmp_eq(a, b), S::set(T(0)), pk::pabs(pk::psub(a, b)));
    return pk::padd(larger, log1p_packet<T>(exp_packet<T>(pk::pnegate(apart))));
}

}  // namespace fastprop
