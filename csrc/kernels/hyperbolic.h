#pragma once
/// @file
/// @brief sinh, cosh and the inverse hyperbolic functions on packets; the rules of math.h hold.
///
/// Largest errors in units in the last place, over every 61st float and millions of doubles:
///
///               sinh   cosh   asinh  acosh  atanh
///     float     1.6    1.5    2.1    2.5    2.4
///     double    1.6    1.6    2.0    2.0    2.0

#include "kernels/math.h"

namespace fastprop {

template <class T>
struct HyperbolicConstants;

template <>
struct HyperbolicConstants<float> {
    /// Above it the square of a number is lost beside, or overflows; log(2 x) is exact enough.
    static constexpr float kLarge = 1e8f;
    static constexpr float kTop = 90.0f;  ///< cosh is infinite from here on
};

template <>
struct HyperbolicConstants<double> {
    static constexpr double kLarge = 1e16;
    static constexpr double kTop = 711.0;
};

/// 1/3!, 1/5!, …: sinh(x) = x + x^3 P(x^2); |x| <= 1 needs so many.
inline constexpr float kSinhSeries32[] = {1.66666667e-1f, 8.33333333e-3f, 1.98412698e-4f,
                                          2.75573192e-6f, 2.50521084e-8f};
inline constexpr double kSinhSeries64[] = {
    0.16666666666666666,    0.008333333333333333,   0.0001984126984126984,
    2.7557319223985893e-06, 2.505210838544172e-08,  1.6059043836821613e-10,
    7.647163731819816e-13,  2.8114572543455206e-15, 8.22063524662433e-18};

/// exp(a) / 2 for a >= 0, which overflows later than exp does.
template <class T>
EIGEN_STRONG_INLINE Vec<T> half_exp_packet(const Vec<T>& a) {
    using S = Simd<T>;
    const ExpReduction<T> reduced(at_most<T>(a, HyperbolicConstants<T>::kTop));
    const Vec<T> n = pk::psub(reduced.n, S::set(T(1)));
    const Vec<T> half = pk::psub(fma_packet<T>(n, S::set(T(0.5)), FloatBits<T>::kRound),
                                 S::set(FloatBits<T>::kRound));
    const Vec<T> scaled = pk::pmul(reduced.exp(), power_of_two<T>(half));
    return pk::pmul(scaled, power_of_two<T>(pk::psub(n, half)));
}

/// (exp(x) - exp(-x)) / 2: a series up to 1, where the difference would cancel.
template <class T>
EIGEN_STRONG_INLINE Vec<T> sinh_packet(const Vec<T>& x) {
    using S = Simd<T>;
    const Vec<T> a = pk::pabs(x);
    const Vec<T> square = pk::pmul(x, x);
    Vec<T> series;
    if constexpr (sizeof(T) == 4) {
        series = polynomial<T>(square, kSinhSeries32);
    } else {
        series = polynomial<T>(square, kSinhSeries64);
    }
    const Vec<T> near = pk::pmadd(pk::pmul(x, square), series, x);
    const Vec<T> h = half_exp_packet<T>(a);
    const Vec<T> far = with_sign_of<T>(pk::psub(h, pk::pdiv(S::set(T(0.25)), h)), x);
    return pk::pselect(pk::pcmp_le(a, S::set(T(1))), near, far);
}

/// (exp(x) + exp(-x)) / 2.
template <class T>
EIGEN_STRONG_INLINE Vec<T> cosh_packet(const Vec<T>& x) {
    const Vec<T> h = half_exp_packet<T>(pk::pabs(x));
    return pk::padd(h, pk::pdiv(Simd<T>::set(T(0.25)), h));
}

/// log(2 a) for large a; infinity and NaN stay.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log_twice(const Vec<T>& a) {
    return pk::padd(log_packet<T>(a), Simd<T>::set(T(0.69314718055994531)));
}

/// asinh(x) = sign(x) log(|x| + sqrt(x^2 + 1)), as log1p of what is added to 1.
template <class T>
EIGEN_STRONG_INLINE Vec<T> asinh_packet(const Vec<T>& x) {
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    const Vec<T> a = pk::pabs(x);
    const Vec<T> bounded = at_most<T>(a, HyperbolicConstants<T>::kLarge);
    const Vec<T> square = pk::pmul(bounded, bounded);
    const Vec<T> root = pk::psqrt(pk::padd(square, one));
    const Vec<T> grown = pk::padd(bounded, pk::pdiv(square, pk::padd(one, root)));
    const Vec<T> large = pk::pcmp_lt(S::set(HyperbolicConstants<T>::kLarge), a);
    const Vec<T> y = pk::pselect(large, log_twice<T>(a), log1p_packet<T>(grown));
    return with_sign_of<T>(pk::pabs(y), x);
}

/// acosh(x) = log(x + sqrt(x^2 - 1)), as log1p of t + sqrt(2 t + t^2) with t = x - 1; NaN below 1.
template <class T>
EIGEN_STRONG_INLINE Vec<T> acosh_packet(const Vec<T>& x) {
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    const Vec<T> bounded = at_most<T>(x, HyperbolicConstants<T>::kLarge);
    const Vec<T> t = pk::psub(bounded, one);
    const Vec<T> root = pk::psqrt(pk::pmadd(t, t, pk::padd(t, t)));
    const Vec<T> large = pk::pcmp_lt(S::set(HyperbolicConstants<T>::kLarge), x);
    const Vec<T> y = pk::pselect(large, log_twice<T>(x), log1p_packet<T>(pk::padd(t, root)));
    return pk::pselect(pk::pcmp_lt(x, one), S::set(std::numeric_limits<T>::quiet_NaN()), y);
}

/// atanh(x) = log1p(2 x / (1 - x)) / 2 on |x|: infinite at 1, NaN beyond.
template <class T>
EIGEN_STRONG_INLINE Vec<T> atanh_packet(const Vec<T>& x) {
    using S = Simd<T>;
    const Vec<T> a = pk::pabs(x);
    const Vec<T> ratio = pk::pdiv(pk::padd(a, a), pk::psub(S::set(T(1)), a));
    const Vec<T> y = pk::pmul(S::set(T(0.5)), log1p_packet<T>(ratio));
    return with_sign_of<T>(pk::pabs(y), x);
}

}  // namespace fastprop
