#pragma once
/// @file
/// @brief tan, asin, acos and atan on packets; the rules of math.h hold.
///
/// Polynomials are minimax (Remez) in x^2 on the interval that the reduction leaves. Largest errors
/// in units in the last place, over every 61st float and millions of doubles:
///
///               tan    asin   acos   atan
///     float     3.4    2.3    1.1    2.1
///     double    3.3    2.2    1.1    1.9

#include "kernels/trigonometry.h"

namespace fastprop {

template <class T>
struct ArcConstants;

template <>
struct ArcConstants<float> {
    // pi / 2 = kHalfPi + kHalfPiLow
    static constexpr float kHalfPi = 1.57079637f;
    static constexpr float kHalfPiLow = -4.37113883e-08f;
    // (asin(x) / x - 1) / x^2 for |x| <= 1/2; error of asin 2^-31.
    static constexpr float kAsin[] = {0.166666597f, 0.0750051066f, 0.0445157215f,
                                      0.031817615f, 0.0144025926f, 0.0375652201f};
    // (atan(x) / x - 1) / x^2 for |x| <= tan(pi / 8); error of atan 2^-30.
    static constexpr float kAtan[] = {-0.333333164f, 0.199984893f, -0.142438486f, 0.105960019f,
                                      -0.0608345382f};
};

template <>
struct ArcConstants<double> {
    static constexpr double kHalfPi = 1.5707963267948966;
    static constexpr double kHalfPiLow = 6.123233995736766e-17;
    // Errors 2^-59.
    static constexpr double kAsin[] = {
        0.16666666666666763,  0.07499999999970261,   0.04464285717512197,  0.030381942683572194,
        0.022372215661341028, 0.017351600076335957,  0.013980961608616232, 0.011397774877904287,
        0.010786534532128605, 0.0036830234036426416, 0.021763540342919496, -0.021077345934032175,
        0.032676920927548044};
    static constexpr double kAtan[] = {
        -0.333333333333332,    0.19999999999954082, -0.14285714280248504, 0.11111110786137673,
        -0.09090897836447016,  0.07692061637115791, -0.06663120384187099, 0.05848008920227715,
        -0.050398455374728715, 0.03807832183461001, -0.017922280494997996};
};

/// tan(x) = sin(x) / cos(x).
template <class T>
EIGEN_STRONG_INLINE Vec<T> tan_packet(const Vec<T>& x) {
    return pk::pdiv(sin_packet<T>(x), cos_packet<T>(x));
}

/// x + x^3 P(x^2).
template <class T, int N>
EIGEN_STRONG_INLINE Vec<T> odd_series(const Vec<T>& x, const Vec<T>& square, const T (&p)[N]) {
    return pk::pmadd(pk::pmul(x, square), polynomial<T>(square, p), x);
}

/// asin(s) for s in [0, 1/2], where s is a itself or, if `upper`, sqrt((1 - a) / 2):
/// asin(a) = pi / 2 - 2 asin(s) then.
template <class T>
struct ArcsineReduction {
    Vec<T> upper;
    Vec<T> arc;

    EIGEN_STRONG_INLINE explicit ArcsineReduction(const Vec<T>& a) {
        using S = Simd<T>;
        const Vec<T> half = S::set(T(0.5));
        upper = pk::pcmp_lt(half, a);
        const Vec<T> rest = pk::pmul(half, pk::psub(S::set(T(1)), a));  // exact above 1/2
        const Vec<T> s = pk::pselect(upper, pk::psqrt(rest), a);
        arc = odd_series<T>(s, pk::pselect(upper, rest, pk::pmul(a, a)), ArcConstants<T>::kAsin);
    }
};

/// asin(x): NaN outside of [-1, 1].
template <class T>
EIGEN_STRONG_INLINE Vec<T> asin_packet(const Vec<T>& x) {
    using C = ArcConstants<T>;
    using S = Simd<T>;
    const ArcsineReduction<T> r(pk::pabs(x));
    const Vec<T> twice = pk::psub(pk::padd(r.arc, r.arc), S::set(C::kHalfPiLow));
    return with_sign_of<T>(pk::pselect(r.upper, pk::psub(S::set(C::kHalfPi), twice), r.arc), x);
}

/// acos(x): NaN outside of [-1, 1].
template <class T>
EIGEN_STRONG_INLINE Vec<T> acos_packet(const Vec<T>& x) {
    using C = ArcConstants<T>;
    using S = Simd<T>;
    const ArcsineReduction<T> r(pk::pabs(x));
    const Vec<T> negative = pk::pcmp_lt(x, S::set(T(0)));
    const Vec<T> twice = pk::padd(r.arc, r.arc);
    // pi - 2 asin(s) on the left, 2 asin(s) on the right, pi / 2 - asin(x) between.
    const Vec<T> left =
        pk::psub(S::set(T(2) * C::kHalfPi), pk::psub(twice, S::set(T(2) * C::kHalfPiLow)));
    const Vec<T> arc = with_sign_of<T>(pk::pabs(r.arc), x);
    const Vec<T> middle = pk::psub(S::set(C::kHalfPi), pk::psub(arc, S::set(C::kHalfPiLow)));
    return pk::pselect(r.upper, pk::pselect(negative, left, twice), middle);
}

/// atan(x).
template <class T>
EIGEN_STRONG_INLINE Vec<T> atan_packet(const Vec<T>& x) {
    using C = ArcConstants<T>;
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    const Vec<T> a = pk::pabs(x);
    // atan(a) = pi/2 - atan(1/a) above tan(3 pi/8), pi/4 + atan((a - 1) / (a + 1)) above tan(pi/8).
    const Vec<T> high = pk::pcmp_lt(S::set(T(2.414213562373095)), a);
    const Vec<T> middle = pk::pcmp_lt(S::set(T(0.41421356237309503)), a);
    const Vec<T> top = pk::pselect(high, S::set(T(-1)), pk::pselect(middle, pk::psub(a, one), a));
    const Vec<T> bottom = pk::pselect(high, a, pk::pselect(middle, pk::padd(a, one), one));
    const Vec<T> r = pk::pdiv(top, bottom);
    const Vec<T> arc = odd_series<T>(r, pk::pmul(r, r), C::kAtan);
    const Vec<T> quarters =
        pk::pselect(high, one, pk::pselect(middle, S::set(T(0.5)), S::set(T(0))));
    const Vec<T> low = pk::pmadd(quarters, S::set(C::kHalfPiLow), arc);
    return with_sign_of<T>(pk::pabs(pk::pmadd(quarters, S::set(C::kHalfPi), low)), x);
}

}  // namespace fastprop
