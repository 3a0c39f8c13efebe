#pragma once
/// @file
/// @brief sin and cos on packets; the rules of math.h hold.
///
/// Arguments up to kMaxReduced are reduced by a multiple of pi/2 kept in three or four parts
/// (Cody and Waite); lanes beyond are left to the C++ library, one by one, so that a lane's result
/// still depends on that lane alone. Largest error measured: 2.4 units in the last place.

#include <cmath>

#include "kernels/math.h"

namespace fastprop {

template <class T>
struct TrigConstants;

template <>
struct TrigConstants<float> {
    static constexpr float kMaxReduced = 12000.0f;
    // pi / 2; all but the last times any multiple up to 2^13 is exact.
    static constexpr float kHalfPi[] = {1.5703125f, 0.0004837513f, 7.5495336e-08f, 2.563344e-12f};
    static constexpr float kSin[] = {-0.16666667f, 0.008333332f, -0.00019840086f, 2.7249696e-06f};
    static constexpr float kCos[] = {0.041666664f, -0.0013888302f, 2.4547788e-05f};
};

template <>
struct TrigConstants<double> {
    static constexpr double kMaxReduced = 1e6;
    static constexpr double kHalfPi[] = {1.5707963267341256, 6.077100506303966e-11,
                                         2.0222662487959506e-21};
    static constexpr double kSin[] = {-0.16666666666666666,    0.008333333333333331,
                                      -0.00019841269841265044, 2.7557319219322184e-06,
                                      -2.5052106226495243e-08, 1.6058530668743098e-10,
                                      -7.586640774796648e-13};
    static constexpr double kCos[] = {0.041666666666666664,   -0.001388888888888739,
                                      2.4801587298755762e-05, -2.7557317266494944e-07,
                                      2.0876145163581403e-09, -1.138255204095506e-11};
};

enum class Trig { sine, cosine };

/// The lanes with |x| beyond the reduction, infinities and NaN.
template <class T, Trig which>
Vec<T> replace_huge_lanes(const Vec<T>& x, const Vec<T>& y) {
    using S = Simd<T>;
    T arguments[S::width];
    T results[S::width];
    S::store(arguments, x);
    S::store(results, y);
    for (int i = 0; i < S::width; ++i) {
        if (std::abs(arguments[i]) <= TrigConstants<T>::kMaxReduced) continue;
        results[i] = which == Trig::sine ? std::sin(arguments[i]) : std::cos(arguments[i]);
    }
    return S::load(results);
}

template <class T, Trig which>
EIGEN_STRONG_INLINE Vec<T> trig_packet(const Vec<T>& x) {
    using B = FloatBits<T>;
    using C = TrigConstants<T>;
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    // The multiple of pi/2 nearest to x; its low bits are the quadrant.
    Vec<T> rounded = fma_packet<T>(x, S::set(T(0.63661977236758134308)), B::kRound);
    const Vec<T> n = pk::psub(rounded, S::set(B::kRound));
    Vec<T> r = x;
    for (const T part : C::kHalfPi) r = pk::pmadd(n, S::set(-part), r);
    if (which == Trig::cosine) rounded = pk::padd(rounded, one);

    const Vec<T> z = pk::pmul(r, r);
    const Vec<T> sine = pk::pmadd(pk::pmul(r, z), polynomial<T>(z, C::kSin), r);
    const Vec<T> one_minus_half = fma_packet<T>(z, S::set(T(-0.5)), T(1));
    // What rounding took from 1 - z / 2 goes back in with the small terms.
    const Vec<T> lost = fma_packet<T>(z, S::set(T(-0.5)), T(0));
    const Vec<T> correction = pk::padd(pk::psub(one, one_minus_half), lost);
    const Vec<T> cosine =
        pk::padd(one_minus_half, pk::pmadd(pk::pmul(z, z), polynomial<T>(z, C::kCos), correction));

    // Odd quadrants take the cosine; the upper two change the sign.
    const Vec<T> sign_bit = S::set(T(-0.0));
    const Vec<T> odd =
        pk::pcmp_lt(pk::por(shift_left<B::kTotal - 1, T>(rounded), one), S::set(T(0)));
    const Vec<T> flip = pk::pand(shift_left<B::kTotal - 2, T>(rounded), sign_bit);
    const Vec<T> y = pk::pxor(pk::pselect(odd, cosine, sine), flip);

    const Vec<T> reduced = pk::pcmp_le(pk::pabs(x), S::set(C::kMaxReduced));
    if (pk::predux(pk::pand(reduced, one)) == T(S::width)) return y;
    return replace_huge_lanes<T, which>(x, y);
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> sin_packet(const Vec<T>& x) {
    return trig_packet<T, Trig::sine>(x);
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> cos_packet(const Vec<T>& x) {
    return trig_packet<T, Trig::cosine>(x);
}

}  // namespace fastprop
