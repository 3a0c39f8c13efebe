#pragma once
/// @file
/// @brief Every activation as a function of packets; activation.h says which they are.

#include <limits>

#include "core/packet.h"
#include "kernels/activation.h"
#include "kernels/erf.h"
#include "kernels/math.h"

namespace fastprop {
namespace activation_detail {

/// Beyond -kDecayed every function that tends to zero on the left is zero. x is held above it where
/// it multiplies such a zero, as -inf * 0 is NaN.
template <class T>
constexpr T kDecayed = T(1000);

/// One activation: `forward(x)` and `derivative(h)`, with h as activation_uses_output says. Built
/// from p0 and p1.
template <class T, Activation kind>
struct ActivationFunction;

template <class T>
EIGEN_STRONG_INLINE Vec<T> set(double value) {
    return Simd<T>::set(static_cast<T>(value));
}

template <class T>
EIGEN_STRONG_INLINE Vec<T> not_below_decayed(const Vec<T>& x) {
    return at_least<T>(x, -kDecayed<T>);
}

/// min(max(x, 0), 1), NaN kept.
template <class T>
EIGEN_STRONG_INLINE Vec<T> clamp_unit(const Vec<T>& x) {
    return at_most<T>(at_least<T>(x, T(0)), T(1));
}

template <class T>
struct ActivationFunction<T, Activation::identity> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return x; }
    P derivative(const P&) const { return set<T>(1.0); }
};

template <class T>
struct ActivationFunction<T, Activation::relu> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return at_least<T>(x, T(0)); }
    P derivative(const P& y) const {
        return pk::pselect(pk::pcmp_le(y, set<T>(0.0)), set<T>(0.0), set<T>(1.0));
    }
};

template <class T>
struct ActivationFunction<T, Activation::leaky_relu> {
    using P = Vec<T>;
    ActivationFunction(T p0, T) : slope(Simd<T>::set(p0)) {}
    P forward(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), x, pk::pmul(slope, x));
    }
    P derivative(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), set<T>(1.0), slope);
    }
    P slope;
};

template <class T>
struct ActivationFunction<T, Activation::elu> {
    using P = Vec<T>;
    ActivationFunction(T p0, T) : alpha(Simd<T>::set(p0)) {}
    P forward(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), x, pk::pmul(alpha, expm1_packet<T>(x)));
    }
    P derivative(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), set<T>(1.0),
                           pk::pmul(alpha, exp_normal_packet<T>(x)));
    }
    P alpha;
};

template <class T>
struct ActivationFunction<T, Activation::selu> {
    using P = Vec<T>;
    static constexpr double kScale = 1.0507009873554804934193349852946;
    static constexpr double kScaleAlpha = 1.7580993408473768599402175208123;
    ActivationFunction(T, T) {}
    P forward(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), pk::pmul(set<T>(kScale), x),
                           pk::pmul(set<T>(kScaleAlpha), expm1_packet<T>(x)));
    }
    P derivative(const P& y) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), y), set<T>(kScale),
                           pk::padd(y, set<T>(kScaleAlpha)));
    }
};

template <class T>
struct ActivationFunction<T, Activation::celu> {
    using P = Vec<T>;
    ActivationFunction(T p0, T) : alpha(Simd<T>::set(p0)), inverse(Simd<T>::set(T(1) / p0)) {}
    P forward(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), x,
                           pk::pmul(alpha, expm1_packet<T>(pk::pmul(x, inverse))));
    }
    P derivative(const P& x) const {
        return pk::pselect(pk::pcmp_lt(set<T>(0.0), x), set<T>(1.0),
                           exp_normal_packet<T>(pk::pmul(x, inverse)));
    }
    P alpha;
    P inverse;
};

template <class T>
struct ActivationFunction<T, Activation::gelu> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    /// max(x, 0) - |x| Phi(-|x|).
    P forward(const P& x) const {
        const Normal<T> normal(x);
        const P size = at_most<T>(pk::pabs(x), kDecayed<T>);
        const P tail = pk::pmul(pk::pmul(size, normal.scaled), normal.gauss);
        return pk::psub(at_least<T>(x, T(0)), tail);
    }
    P derivative(const P& x) const {
        const Normal<T> normal(x);
        const P inside = at_most<T>(not_below_decayed<T>(x), kDecayed<T>);
        return pk::pmadd(inside, normal.pdf(), normal.cdf());
    }
};

/// x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form without its
/// cancellation.
template <class T>
struct ActivationFunction<T, Activation::gelu_tanh> {
    using P = Vec<T>;
    static constexpr double kTwiceSlope = 1.5957691216057307117597842397375;  // 2 sqrt(2 / pi)
    static constexpr double kCubic = 0.044715;
    ActivationFunction(T, T) {}
    P forward(const P& x) const {
        const P inner = pk::pmul(x, fma_packet<T>(pk::pmul(x, x), set<T>(kCubic), T(1)));
        return pk::pmul(not_below_decayed<T>(x),
                        sigmoid_packet<T>(pk::pmul(set<T>(kTwiceSlope), inner)));
    }
    P derivative(const P& x_any) const {
        const P x = at_most<T>(not_below_decayed<T>(x_any), kDecayed<T>);
        const P square = pk::pmul(x, x);
        const P inner = pk::pmul(x, fma_packet<T>(square, set<T>(kCubic), T(1)));
        const P z = pk::pmul(set<T>(kTwiceSlope), inner);
        // With e = exp(-|z|) neither sigmoid(z) nor its derivative e / (1 + e)^2 cancels.
        const P e = exp_normal_packet<T>(pk::pnegate(pk::pabs(z)));
        const P r = pk::pdiv(set<T>(1.0), pk::padd(set<T>(1.0), e));
        const P s = pk::pselect(pk::pcmp_lt(z, set<T>(0.0)), pk::pmul(e, r), r);
        const P slope =
            pk::pmul(set<T>(kTwiceSlope), fma_packet<T>(square, set<T>(3 * kCubic), T(1)));
        return pk::pmadd(pk::pmul(x, slope), pk::pmul(pk::pmul(e, r), r), s);
    }
};

template <class T>
struct ActivationFunction<T, Activation::silu> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return pk::pmul(not_below_decayed<T>(x), sigmoid_packet<T>(x)); }
    P derivative(const P& x) const {
        // With e = exp(-|x|) neither sigmoid(x) nor its derivative e / (1 + e)^2 cancels.
        const P e = exp_normal_packet<T>(pk::pnegate(pk::pabs(x)));
        const P r = pk::pdiv(set<T>(1.0), pk::padd(set<T>(1.0), e));
        const P er = pk::pmul(e, r);
        const P s = pk::pselect(pk::pcmp_lt(x, set<T>(0.0)), er, r);
        const P inside = at_most<T>(not_below_decayed<T>(x), kDecayed<T>);
        return pk::pmadd(inside, pk::pmul(er, r), s);
    }
};

/// tanh(softplus(x)) = n / (n + 2), n = e (e + 2), e = exp(x).
template <class T>
struct ActivationFunction<T, Activation::mish> {
    using P = Vec<T>;
    static constexpr T kLinear = ExpConstants<T>::kTanhOne * 2;
    ActivationFunction(T, T) {}
    P forward(const P& x) const {
        const P e = exp_normal_packet<T>(at_most<T>(x, kLinear));
        const P n = pk::pmul(e, pk::padd(e, set<T>(2.0)));
        return pk::pmul(not_below_decayed<T>(x), pk::pdiv(n, pk::padd(n, set<T>(2.0))));
    }
    P derivative(const P& x_any) const {
        const P x = at_most<T>(not_below_decayed<T>(x_any), kLinear);
        const P e = exp_normal_packet<T>(x);
        const P n = pk::pmul(e, pk::padd(e, set<T>(2.0)));
        const P inverse = pk::pdiv(set<T>(1.0), pk::padd(n, set<T>(2.0)));
        // x times the derivative of n / (n + 2): 4 e (1 + e) / (n + 2)^2.
        const P slope = pk::pmul(pk::pmul(set<T>(4.0), x), pk::pmadd(e, e, e));
        return pk::pmul(pk::pmadd(slope, inverse, n), inverse);
    }
};

template <class T>
struct ActivationFunction<T, Activation::softplus> {
    using P = Vec<T>;
    ActivationFunction(T p0, T p1)
        : beta(Simd<T>::set(p0)), inverse(Simd<T>::set(T(1) / p0)), threshold(Simd<T>::set(p1)) {}
    P forward(const P& x) const {
        const P z = pk::pmul(beta, x);
        return pk::pselect(pk::pcmp_lt(threshold, z), x, pk::pmul(softplus_packet<T>(z), inverse));
    }
    P derivative(const P& x) const {
        const P z = pk::pmul(beta, x);
        return pk::pselect(pk::pcmp_lt(threshold, z), set<T>(1.0), sigmoid_packet<T>(z));
    }
    P beta;
    P inverse;
    P threshold;
};

template <class T>
struct ActivationFunction<T, Activation::softsign> {
    using P = Vec<T>;
    static constexpr T kMax = std::numeric_limits<T>::max();
    ActivationFunction(T, T) {}
    P forward(const P& x_any) const {
        const P x = at_most<T>(at_least<T>(x_any, -kMax), kMax);  // inf / inf is NaN
        return pk::pdiv(x, pk::padd(set<T>(1.0), pk::pabs(x)));
    }
    P derivative(const P& y) const {
        const P rest = pk::psub(set<T>(1.0), pk::pabs(y));
        return pk::pmul(rest, rest);
    }
};

template <class T>
struct ActivationFunction<T, Activation::sigmoid> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return sigmoid_packet<T>(x); }
    P derivative(const P& y) const { return pk::pmul(y, pk::psub(set<T>(1.0), y)); }
};

/// (x + 3) / 6 and not x / 6 + 1/2, which cancels near -3.
template <class T>
EIGEN_STRONG_INLINE Vec<T> hard_sigmoid(const Vec<T>& x) {
    return clamp_unit<T>(pk::pmul(pk::padd(x, set<T>(3.0)), set<T>(1.0 / 6.0)));
}

template <class T>
struct ActivationFunction<T, Activation::hard_sigmoid> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return hard_sigmoid<T>(x); }
    P derivative(const P& y) const {
        const P inside = pk::pand(pk::pcmp_lt(set<T>(0.0), y), pk::pcmp_lt(y, set<T>(1.0)));
        return pk::pand(inside, set<T>(1.0 / 6.0));
    }
};

template <class T>
struct ActivationFunction<T, Activation::hard_swish> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return pk::pmul(not_below_decayed<T>(x), hard_sigmoid<T>(x)); }
    P derivative(const P& x) const {
        const P middle = fma_packet<T>(x, set<T>(1.0 / 3.0), T(0.5));
        const P left = pk::pselect(pk::pcmp_le(x, set<T>(-3.0)), set<T>(0.0), middle);
        return pk::pselect(pk::pcmp_le(set<T>(3.0), x), set<T>(1.0), left);
    }
};

template <class T>
struct ActivationFunction<T, Activation::tanh> {
    using P = Vec<T>;
    ActivationFunction(T, T) {}
    P forward(const P& x) const { return tanh_packet<T>(x); }
    P derivative(const P& y) const {
        const P one = set<T>(1.0);
        return pk::pmul(pk::psub(one, y), pk::padd(one, y));
    }
};

}  // namespace activation_detail
}  // namespace fastprop
