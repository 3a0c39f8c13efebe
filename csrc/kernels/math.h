#pragma once
/// @file
/// @brief Exponentials and logarithms of packets, float and double, on every level.
///
/// An element's result depends on that element alone: no branch looks at the other lanes. NaN comes
/// out as NaN and infinities give the limits. Polynomials are minimax (Remez), fitted for the
/// interval that the reduction leaves. Largest errors in units in the last place, over all floats
/// and over millions of doubles (docs/numerics.md has the whole table):
///
///               exp    expm1  log    log1p  tanh   sigmoid  softplus
///     float     1.1    1.7    0.9    1.5    2.5    2.4      2.7
///     double    1.1    2.5    0.9    1.5    2.5    2.2      2.6
///
/// See erf.h for erf and the normal distribution, trigonometry.h for sin and cos.

#include <limits>

#include "kernels/packet_bits.h"

namespace fastprop {

/// a * b + c, rounded once or twice as the level has it.
template <class T>
EIGEN_STRONG_INLINE Vec<T> fma_packet(const Vec<T>& a, const Vec<T>& b, T c) {
    return pk::pmadd(a, b, Simd<T>::set(c));
}

/// coefficients[0] + coefficients[1] x + …: Horner's rule, for long polynomials in two halves, even
/// and odd, since it is a chain of latencies.
template <class T, int N>
EIGEN_STRONG_INLINE Vec<T> polynomial(const Vec<T>& x, const T (&coefficients)[N]) {
    if constexpr (N < 8) {
        Vec<T> sum = Simd<T>::set(coefficients[N - 1]);
        for (int i = N - 2; i >= 0; --i) sum = fma_packet<T>(sum, x, coefficients[i]);
        return sum;
    } else {
        const Vec<T> square = pk::pmul(x, x);
        Vec<T> high = Simd<T>::set(coefficients[N - 1]);
        Vec<T> low = Simd<T>::set(coefficients[N - 2]);
        for (int i = N - 3; i >= 0; i -= 2) {
            high = fma_packet<T>(high, square, coefficients[i]);
            if (i > 0) low = fma_packet<T>(low, square, coefficients[i - 1]);
        }
        // `high` ends at coefficients[N % 2 == 0], the odd ones if N is even.
        return N % 2 == 0 ? pk::pmadd(high, x, low) : pk::pmadd(low, x, high);
    }
}

/// min(x, limit) and max(x, limit) that keep a NaN in x on every level, which pmin and pmax do not.
template <class T>
EIGEN_STRONG_INLINE Vec<T> at_most(const Vec<T>& x, T limit) {
    const Vec<T> bound = Simd<T>::set(limit);
    return pk::pselect(pk::pcmp_lt(bound, x), bound, x);
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> at_least(const Vec<T>& x, T limit) {
    const Vec<T> bound = Simd<T>::set(limit);
    return pk::pselect(pk::pcmp_lt(x, bound), bound, x);
}

/// |magnitude| with the sign of x; magnitude must not be negative.
template <class T>
EIGEN_STRONG_INLINE Vec<T> with_sign_of(const Vec<T>& magnitude, const Vec<T>& x) {
    return pk::por(magnitude, pk::pand(x, Simd<T>::set(T(-0.0))));
}

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
    static constexpr float kLog2e = 1.44269504f;
    // kLn2High times any exponent is exact.
    static constexpr float kLn2High = 0.69314575f;
    static constexpr float kLn2Low = 1.4286068e-06f;
    // Outside of these exp is zero or infinite; normal results only need the tighter kNormalLow.
    static constexpr float kLow = -104.0f;
    static constexpr float kNormalLow = -88.0f;
    static constexpr float kHigh = 89.0f;
    static constexpr float kExpm1Low = -20.0f;  // expm1 is -1 below
    static constexpr float kTanhOne = 10.0f;    // tanh is 1 above
    // (exp(r) - 1 - r) / r^2 on |r| <= log(2) / 2; error of exp 2^-27.
    static constexpr float kExp[] = {0.5f, 0.16666576f, 0.041666374f, 0.008363238f, 0.0013941216f};
    // (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2, |s| <= 0.1717; error of log 2^-36.
    static constexpr float kLog[] = {0.6666667f, 0.40000123f, 0.285507f, 0.23333418f};
    // The same for |s| <= 1/3.
    static constexpr float kLogNear[] = {0.6666667f, 0.39999697f, 0.28592816f, 0.21699937f,
                                         0.2325437f};
    static constexpr float kSubnormalScale = 8388608.0f;  // 2^23
    static constexpr float kSubnormalExponent = -23.0f;
};

template <>
struct ExpConstants<double> {
    static constexpr double kLog2e = 1.4426950408889634;
    static constexpr double kLn2High = 0.6931471805592082;
    static constexpr double kLn2Low = 7.371002565167799e-13;
    static constexpr double kLow = -746.0;
    static constexpr double kNormalLow = -709.0;
    static constexpr double kHigh = 710.0;
    static constexpr double kExpm1Low = -40.0;
    static constexpr double kTanhOne = 20.0;
    // Error of exp 2^-56.
    static constexpr double kExp[] = {0.5000000000000001,     0.16666666666666674,
                                      0.04166666666662381,    0.008333333333322127,
                                      0.0013888888917370848,  0.00019841269886836392,
                                      2.4801521052860206e-05, 2.7557242059340425e-06,
                                      2.762020367160025e-07,  2.5110154340462048e-08};
    // Error of log 2^-57.
    static constexpr double kLog[] = {0.666666666666667,   0.3999999999989789,  0.2857142862665141,
                                      0.22222211031749325, 0.18182896207631685, 0.15331497764506818,
                                      0.1461909699201228};
    static constexpr double kLogNear[] = {
        0.6666666666666666,  0.40000000000015257, 0.28571428566945517, 0.22222222732596386,
        0.18181788730500123, 0.15385588495441574, 0.13313861541643748, 0.12003598695446495,
        0.08788569843337694, 0.16188467052126632};
    static constexpr double kSubnormalScale = 18014398509481984.0;  // 2^54
    static constexpr double kSubnormalExponent = -54.0;
};

/// 2^n for integers n with a normal result; one above gives infinity, one below zero.
template <class T>
EIGEN_STRONG_INLINE Vec<T> power_of_two(const Vec<T>& n) {
    const Vec<T> biased = pk::padd(n, Simd<T>::set(FloatBits<T>::kRound + FloatBits<T>::kBias));
    return shift_left<FloatBits<T>::kMantissa, T>(biased);
}

/// x = n log(2) + r with an integer n and |r| a little over log(2) / 2 at most.
template <class T>
struct ExpReduction {
    Vec<T> n;
    Vec<T> r;

    EIGEN_STRONG_INLINE explicit ExpReduction(const Vec<T>& x) {
        using C = ExpConstants<T>;
        using S = Simd<T>;
        n = pk::psub(fma_packet<T>(x, S::set(C::kLog2e), FloatBits<T>::kRound),
                     S::set(FloatBits<T>::kRound));
        r = pk::pmadd(n, S::set(-C::kLn2Low), pk::pmadd(n, S::set(-C::kLn2High), x));
    }

    /// exp(r) - 1.
    EIGEN_STRONG_INLINE Vec<T> expm1() const {
        return pk::pmadd(pk::pmul(r, r), polynomial<T>(r, ExpConstants<T>::kExp), r);
    }

    EIGEN_STRONG_INLINE Vec<T> exp() const { return pk::padd(expm1(), Simd<T>::set(T(1))); }
};

/// exp(x + low) where it is a normal number: at and below about the smallest one it gives zero. For
/// use inside of functions where that is enough. `low` is what rounding took from x.
template <class T>
EIGEN_STRONG_INLINE Vec<T> exp_normal_packet(const Vec<T>& x, const Vec<T>& low) {
    using C = ExpConstants<T>;
    ExpReduction<T> reduced(at_least<T>(at_most<T>(x, C::kHigh), C::kNormalLow));
    reduced.r = pk::padd(reduced.r, low);
    return pk::pmul(reduced.exp(), power_of_two<T>(reduced.n));
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> exp_normal_packet(const Vec<T>& x) {
    using C = ExpConstants<T>;
    const ExpReduction<T> reduced(at_least<T>(at_most<T>(x, C::kHigh), C::kNormalLow));
    return pk::pmul(reduced.exp(), power_of_two<T>(reduced.n));
}

/// exp(x), subnormal results included.
template <class T>
EIGEN_STRONG_INLINE Vec<T> exp_packet(const Vec<T>& x) {
    using C = ExpConstants<T>;
    using S = Simd<T>;
    const ExpReduction<T> reduced(at_least<T>(at_most<T>(x, C::kHigh), C::kLow));
    // In two factors, as 2^n itself may overflow or be subnormal.
    const Vec<T> half = pk::psub(fma_packet<T>(reduced.n, S::set(T(0.5)), FloatBits<T>::kRound),
                                 S::set(FloatBits<T>::kRound));
    const Vec<T> scaled = pk::pmul(reduced.exp(), power_of_two<T>(half));
    return pk::pmul(scaled, power_of_two<T>(pk::psub(reduced.n, half)));
}

/// exp(x) - 1 without cancellation.
template <class T>
EIGEN_STRONG_INLINE Vec<T> expm1_packet(const Vec<T>& x) {
    using C = ExpConstants<T>;
    using S = Simd<T>;
    const ExpReduction<T> reduced(at_least<T>(at_most<T>(x, C::kHigh), C::kExpm1Low));
    // 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)): 2^n would overflow before the result does.
    const Vec<T> scale = power_of_two<T>(pk::psub(reduced.n, S::set(T(1))));
    const Vec<T> half = pk::pmadd(scale, reduced.expm1(), pk::psub(scale, S::set(T(0.5))));
    return pk::padd(half, half);
}

/// A positive, finite, normal x as 2^e (1 + f), with 1 + f in [sqrt(1/2), sqrt(2)), so that its
/// logarithm is small wherever e is zero: log(1 + f) = f - (half_square - tail).
template <class T>
struct LogReduction {
    Vec<T> e, f, half_square;
    Vec<T> s, r;  ///< tail = s r

    EIGEN_STRONG_INLINE LogReduction(const Vec<T>& x, const Vec<T>& exponent_shift) {
        using B = FloatBits<T>;
        using S = Simd<T>;
        const Vec<T> one = S::set(T(1));
        // Mantissa in [1, 2), and the exponent as the low bits of a number that it makes
        // 2^mantissa + e.
        Vec<T> m = pk::por(pk::pand(x, set_bits<T>(B::kMantissaMask)), one);
        e = pk::por(shift_right<B::kMantissa, T>(x), S::set(B::kTwoToMantissa));
        e = pk::psub(e, S::set(B::kTwoToMantissa + B::kBias));
        const Vec<T> large = pk::pcmp_lt(S::set(T(1.4142135623730951)), m);
        m = pk::pselect(large, pk::pmul(m, S::set(T(0.5))), m);
        e = pk::padd(e, pk::pand(large, one));
        e = pk::padd(e, exponent_shift);

        f = pk::psub(m, one);
        s = pk::pdiv(f, pk::padd(m, one));
        const Vec<T> z = pk::pmul(s, s);
        half_square = pk::pmul(S::set(T(0.5)), pk::pmul(f, f));
        // f is exact and dominates in f - (f^2 / 2 - s (f^2 / 2 + R(s^2))), s = f / (2 + f).
        r = pk::pmadd(z, polynomial<T>(z, ExpConstants<T>::kLog), half_square);
    }
};

/// log(x) for positive, finite, normal x.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log_normal_packet(const Vec<T>& x, const Vec<T>& exponent_shift) {
    using C = ExpConstants<T>;
    using S = Simd<T>;
    const LogReduction<T> l(x, exponent_shift);
    const Vec<T> low = pk::pmadd(l.s, l.r, pk::pmul(l.e, S::set(C::kLn2Low)));
    const Vec<T> rest = pk::psub(pk::psub(l.half_square, low), l.f);
    return pk::psub(pk::pmul(l.e, S::set(C::kLn2High)), rest);
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> log_normal_packet(const Vec<T>& x) {
    return log_normal_packet<T>(x, Simd<T>::set(T(0)));
}

/// A logarithm of any x from that of normal ones: -inf at zero, NaN below.
template <class T, class F>
EIGEN_STRONG_INLINE Vec<T> of_all_numbers(const Vec<T>& x, const F& normal) {
    using C = ExpConstants<T>;
    using S = Simd<T>;
    constexpr T inf = std::numeric_limits<T>::infinity();
    const Vec<T> zero = S::set(T(0));
    const Vec<T> subnormal = pk::pcmp_lt(x, S::set(std::numeric_limits<T>::min()));
    const Vec<T> scaled = pk::pselect(subnormal, pk::pmul(x, S::set(C::kSubnormalScale)), x);
    const Vec<T> shift = pk::pand(subnormal, S::set(C::kSubnormalExponent));
    const Vec<T> regular = normal(scaled, shift);
    const Vec<T> positive = pk::pselect(pk::pcmp_eq(x, S::set(inf)), x, regular);
    const Vec<T> other = pk::pselect(pk::pcmp_eq(x, zero), S::set(-inf),
                                     S::set(std::numeric_limits<T>::quiet_NaN()));
    return pk::pselect(pk::pcmp_lt(zero, x), positive, other);
}

/// log(x): -inf at zero, NaN below.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log_packet(const Vec<T>& x) {
    return of_all_numbers<T>(x, [](const Vec<T>& v, const Vec<T>& exponent_shift) {
        return log_normal_packet<T>(v, exponent_shift);
    });
}

/// log(x) to base 2: exact at powers of two.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log2_packet(const Vec<T>& x) {
    return of_all_numbers<T>(x, [](const Vec<T>& v, const Vec<T>& exponent_shift) {
        const LogReduction<T> l(v, exponent_shift);
        const Vec<T> rest = pk::psub(pk::psub(l.half_square, pk::pmul(l.s, l.r)), l.f);
        return pk::psub(l.e, pk::pmul(rest, Simd<T>::set(ExpConstants<T>::kLog2e)));
    });
}

/// log(1 + x) for finite x > -1.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log1p_finite_packet(const Vec<T>& x) {
    const Vec<T> one = Simd<T>::set(T(1));
    const Vec<T> u = pk::padd(one, x);
    // What rounding took from 1 + x; exact.
    const Vec<T> small = pk::psub(x, pk::psub(u, one));
    const Vec<T> large = pk::psub(one, pk::psub(u, x));
    const Vec<T> lost = pk::pselect(pk::pcmp_lt(x, one), small, large);
    return pk::padd(log_normal_packet<T>(u), pk::pdiv(lost, u));
}

/// log(1 + x) without cancellation: -inf at -1, NaN below.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log1p_packet(const Vec<T>& x) {
    using S = Simd<T>;
    constexpr T inf = std::numeric_limits<T>::infinity();
    const Vec<T> pole = S::set(T(-1));
    const Vec<T> regular = pk::pselect(pk::pcmp_eq(x, S::set(inf)), x, log1p_finite_packet<T>(x));
    const Vec<T> other = pk::pselect(pk::pcmp_eq(x, pole), S::set(-inf),
                                     S::set(std::numeric_limits<T>::quiet_NaN()));
    return pk::pselect(pk::pcmp_lt(pole, x), regular, other);
}

/// tanh(x), from expm1 so that it is accurate near zero as well.
template <class T>
EIGEN_STRONG_INLINE Vec<T> tanh_packet(const Vec<T>& x) {
    const Vec<T> a = at_most<T>(pk::pabs(x), ExpConstants<T>::kTanhOne);
    const Vec<T> e = expm1_packet<T>(pk::padd(a, a));
    return with_sign_of<T>(pk::pdiv(e, pk::padd(e, Simd<T>::set(T(2)))), x);
}

/// 1 / (1 + exp(-x)).
template <class T>
EIGEN_STRONG_INLINE Vec<T> sigmoid_packet(const Vec<T>& x) {
    const Vec<T> one = Simd<T>::set(T(1));
    return pk::pdiv(one, pk::padd(one, exp_normal_packet<T>(pk::pnegate(x))));
}

/// log(1 + x) for 0 <= x <= 1, without the exponent that log1p has to look for.
template <class T>
EIGEN_STRONG_INLINE Vec<T> log1p_fraction_packet(const Vec<T>& x) {
    const Vec<T> s = pk::pdiv(x, pk::padd(x, Simd<T>::set(T(2))));
    const Vec<T> z = pk::pmul(s, s);
    const Vec<T> tail = polynomial<T>(z, ExpConstants<T>::kLogNear);
    return pk::pmadd(pk::pmul(s, z), tail, pk::padd(s, s));
}

/// log(1 + exp(x)) for all x.
template <class T>
EIGEN_STRONG_INLINE Vec<T> softplus_packet(const Vec<T>& x) {
    const Vec<T> e = exp_normal_packet<T>(pk::pnegate(pk::pabs(x)));
    return pk::padd(log1p_fraction_packet<T>(e), at_least<T>(x, T(0)));
}

}  // namespace fastprop
