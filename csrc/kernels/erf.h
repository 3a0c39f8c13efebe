#pragma once
/// @file
/// @brief The error function and the normal distribution on packets; the rules of math.h hold.
///
/// Largest errors in units in the last place: erf 1.4; x times the distribution function 7,
/// wherever the result is a normal number, so also far in the tail, where 1 + erf would have
/// cancelled.

#include "kernels/math.h"

namespace fastprop {

template <class T>
struct ErfConstants;

template <>
struct ErfConstants<float> {
    // erf(x) / x - 1 in x^2, 0 <= x <= 1; error 2^-30.
    static constexpr float kErf[] = {0.12837917f,   -0.37612626f,    0.112836f,    -0.026854446f,
                                     0.0051895366f, -0.00080208457f, 7.889119e-05f};
    // exp(x^2) erfc(x) (x + kCenter) in (x - kCenter) / (x + kCenter), 0 <= x <= 10.5; error 2^-28.
    static constexpr float kScaledErfc[] = {
        1.0215827f,    -0.6871607f,    0.27947176f,    -0.03644187f,   -0.021505507f, 0.0064766314f,
        0.0030620014f, -0.0008345236f, -0.0005926964f, 4.9640454e-05f, 7.093187e-05f};
    static constexpr float kCenter = 2.0f;
    static constexpr float kSplit = 4097.0f;  // 2^12 + 1
    static constexpr float kFar = 15.0f;      // exp(-x^2 / 2) and exp(-x^2) are zero from here
};

template <>
struct ErfConstants<double> {
    // Error 2^-63.
    static constexpr double kErf[] = {
        0.1283791670955126,      -0.3761263890318375,     0.11283791670954885,
        -0.026866170645077875,   0.005223977624828431,    -0.0008548326981425542,
        0.0001205533113295582,   -1.4925595772180906e-05, 1.64610084778027e-06,
        -1.6350396222864617e-07, 1.466032872274226e-08,   -1.137495573607015e-09,
        5.960685338520971e-11};
    // 0 <= x <= 28; error 2^-58.
    static constexpr double kScaledErfc[] = {
        1.054031820305718,       -0.8046518494391488,     0.45391411664809606,
        -0.1712511452460506,     0.02836155013200343,     0.008393044302616849,
        -0.004818785523670906,   -0.00043920826895229274, 0.0007026937320963128,
        5.830780606875253e-05,   -0.00011260490919212704, -1.953207863169506e-05,
        1.8244794338015076e-05,  6.753317614785348e-06,   -2.333758495016939e-06,
        -1.9594811513884844e-06, -2.5750451283778224e-09, 4.4213866046626466e-07,
        1.3280125315487467e-07,  -6.344374468609622e-08,  -4.750921185237897e-08,
        9.75409999529742e-10,    7.964086006824892e-09,   1.1928525428209504e-09,
        -3.264319702600749e-10};
    static constexpr double kCenter = 2.5;
    static constexpr double kSplit = 134217729.0;  // 2^27 + 1
    static constexpr double kFar = 39.0;
};

/// exp(-scale a^2) for 0 <= a <= kFar and scale 1 or 1/2, accurate also where a^2 is large.
template <class T>
EIGEN_STRONG_INLINE Vec<T> exp_minus_square(const Vec<T>& a, T scale) {
    using S = Simd<T>;
    // a = high + low, high with half the bits, so that its square is exact.
    const Vec<T> spread = pk::pmul(a, S::set(ErfConstants<T>::kSplit));
    const Vec<T> high = pk::psub(spread, pk::psub(spread, a));
    const Vec<T> minus_scale = S::set(-scale);
    const Vec<T> low = pk::pmul(pk::psub(a, high), pk::padd(a, high));
    return exp_normal_packet<T>(pk::pmul(minus_scale, pk::pmul(high, high)),
                                pk::pmul(minus_scale, low));
}

/// exp(a^2) erfc(a) for 0 <= a.
template <class T>
EIGEN_STRONG_INLINE Vec<T> scaled_erfc(const Vec<T>& a) {
    using C = ErfConstants<T>;
    using S = Simd<T>;
    const Vec<T> center = S::set(C::kCenter);
    const Vec<T> u = pk::pdiv(S::set(T(1)), pk::padd(a, center));
    const Vec<T> w = pk::pmul(pk::psub(a, center), u);
    return pk::pmul(u, polynomial<T>(w, C::kScaledErfc));
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> erf_packet(const Vec<T>& x) {
    using C = ErfConstants<T>;
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    const Vec<T> a = at_most<T>(pk::pabs(x), C::kFar);
    const Vec<T> near = pk::pmadd(x, polynomial<T>(pk::pmul(x, x), C::kErf), x);
    const Vec<T> far = pk::psub(one, pk::pmul(exp_minus_square<T>(a, T(1)), scaled_erfc<T>(a)));
    return pk::pselect(pk::pcmp_lt(a, one), near, with_sign_of<T>(far, x));
}

/// The normal distribution: its density phi(x), and Phi(-|x|), the smaller of its two tails.
template <class T>
struct Normal {
    Vec<T> negative;  ///< mask of x < 0
    Vec<T> scaled;    ///< Phi(-|x|) = gauss * scaled, for products that would underflow on the way
    Vec<T> gauss;     ///< exp(-x^2 / 2)

    EIGEN_STRONG_INLINE explicit Normal(const Vec<T>& x) {
        using S = Simd<T>;
        const Vec<T> a = at_most<T>(pk::pabs(x), ErfConstants<T>::kFar);
        negative = pk::pcmp_lt(x, S::set(T(0)));
        gauss = exp_minus_square<T>(a, T(0.5));
        scaled = pk::pmul(S::set(T(0.5)),
                          scaled_erfc<T>(pk::pmul(a, S::set(T(0.70710678118654752440)))));
    }

    EIGEN_STRONG_INLINE Vec<T> cdf() const {
        const Vec<T> tail = pk::pmul(gauss, scaled);
        return pk::pselect(negative, tail, pk::psub(Simd<T>::set(T(1)), tail));
    }

    EIGEN_STRONG_INLINE Vec<T> pdf() const {
        return pk::pmul(gauss, Simd<T>::set(T(0.39894228040143267794)));
    }
};

}  // namespace fastprop
