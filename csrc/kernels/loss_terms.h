#pragma once
/// @file
/// @brief What each elementwise loss does to one packet: its value and its derivatives.
///
/// An unused term costs nothing: the functions are inlined and the compiler drops it.

#include <limits>

#include "kernels/lanes.h"
#include "kernels/loss.h"
#include "kernels/math.h"

namespace fastprop {

template <class T>
struct LossTerms {
    PacketOf<T> value;
    PacketOf<T> dpred;
    PacketOf<T> daux;  ///< meaningful for losses with kAuxGradient
};

template <class T, LossKind kind>
struct LossFunction;

template <class T>
struct LossFunction<T, LossKind::mse> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P d = pk::psub(p, t);
        return {pk::pmul(d, d), pk::padd(d, d), d};
    }
};

template <class T>
struct LossFunction<T, LossKind::mae> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    /// The derivative at zero is zero.
    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P zero = Simd<T>::set(T(0));
        const P one = Simd<T>::set(T(1));
        const P d = pk::psub(p, t);
        const P sign =
            pk::psub(pk::pand(pk::pcmp_lt(zero, d), one), pk::pand(pk::pcmp_lt(d, zero), one));
        return {pk::pabs(d), sign, d};
    }
};

template <class T>
struct LossFunction<T, LossKind::huber> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions& options) : delta(static_cast<T>(options.delta)) {}

    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P limit = Simd<T>::set(delta);
        const P half = Simd<T>::set(T(0.5));
        const P d = pk::psub(p, t);
        const P size = pk::pabs(d);
        const P square = pk::pmul(half, pk::pmul(d, d));
        const P line = pk::pmul(limit, pk::psub(size, pk::pmul(half, limit)));
        // pselect and not pmin/pmax, which lose a NaN on some levels.
        const P inside = pk::pcmp_lt(size, limit);
        const P above = pk::pcmp_le(limit, d);
        const P below = pk::pcmp_le(d, pk::pnegate(limit));
        const P slope = pk::pselect(above, limit, pk::pselect(below, pk::pnegate(limit), d));
        return {pk::pselect(inside, square, line), slope, d};
    }

    T delta;
};

template <class T>
struct LossFunction<T, LossKind::log_cosh> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    /// With e = exp(-|d|), log(cosh(d)) is log1p((1 - e)^2 / (2 e)) near zero, where the other
    /// form, |d| - log(2) + log1p(e^2), would cancel; both have an argument in [0, 0.55].
    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P one = Simd<T>::set(T(1));
        const P d = pk::psub(p, t);
        const P size = pk::pabs(d);
        const P em1 = expm1_packet<T>(pk::pnegate(size));
        const P e = pk::padd(one, em1);
        const P square = pk::pmul(e, e);
        const P near_zero = pk::pcmp_lt(size, one);
        const P excess = pk::pdiv(pk::pmul(em1, em1), pk::padd(e, e));
        const P line = pk::psub(size, Simd<T>::set(T(0.69314718055994530942)));
        const P value = pk::padd(log1p_fraction_packet<T>(pk::pselect(near_zero, excess, square)),
                                 pk::pandnot(line, near_zero));
        const P above = pk::pmul(pk::pnegate(em1), pk::padd(one, e));  // 1 - e^2
        return {value, with_sign_of<T>(pk::pdiv(above, pk::padd(one, square)), d), d};
    }
};

template <class T>
struct LossFunction<T, LossKind::quantile> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    /// The derivative at zero is zero.
    LossTerms<T> operator()(const P& p, const P& t, const P& quantile) const {
        const P zero = Simd<T>::set(T(0));
        const P d = pk::psub(p, t);
        const P over = pk::psub(Simd<T>::set(T(1)), quantile);
        const P above = pk::pcmp_lt(zero, d);
        const P below = pk::pcmp_lt(d, zero);
        const P slope = pk::psub(pk::pand(above, over), pk::pand(below, quantile));
        const P value = pk::pselect(above, pk::pmul(over, d), pk::pmul(pk::pnegate(quantile), d));
        return {value, slope, d};
    }
};

template <class T>
struct LossFunction<T, LossKind::hinge> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P zero = Simd<T>::set(T(0));
        const P margin = pk::psub(Simd<T>::set(T(1)), pk::pmul(t, p));
        const P satisfied = pk::pcmp_le(margin, zero);
        return {pk::pselect(satisfied, zero, margin), pk::pselect(satisfied, zero, pk::pnegate(t)),
                t};
    }
};

template <class T>
struct LossFunction<T, LossKind::poisson_nll> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions& options)
        : eps(static_cast<T>(options.eps)), log_input(options.log_input), full(options.full) {}

    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        LossTerms<T> terms = log_input ? of_logarithm(p, t) : of_rate(p, t);
        if (full) terms.value = pk::padd(terms.value, stirling(t));
        return terms;
    }

    static LossTerms<T> of_logarithm(const P& p, const P& t) {
        const P rate = exp_packet<T>(p);
        return {pk::psub(rate, pk::pmul(t, p)), pk::psub(rate, t), t};
    }

    LossTerms<T> of_rate(const P& p, const P& t) const {
        const P rate = pk::padd(p, Simd<T>::set(eps));
        return {pk::psub(p, pk::pmul(t, log_packet<T>(rate))),
                pk::psub(Simd<T>::set(T(1)), pk::pdiv(t, rate)), t};
    }

    /// log(t!) for t > 1, by Stirling: t log t - t + log(2 pi t) / 2.
    static P stirling(const P& t) {
        const P half_log_two_pi = Simd<T>::set(T(0.91893853320467274178));
        const P log_t = log_packet<T>(t);
        const P sum = pk::padd(pk::psub(pk::pmul(pk::padd(t, Simd<T>::set(T(0.5))), log_t), t),
                               half_log_two_pi);
        return pk::pand(pk::pcmp_lt(Simd<T>::set(T(1)), t), sum);
    }

    T eps;
    bool log_input;
    bool full;
};

template <class T>
struct LossFunction<T, LossKind::gaussian_nll> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = true;

    explicit LossFunction(const LossOptions& options)
        : eps(static_cast<T>(options.eps)),
          constant(options.full ? T(0.91893853320467274178) : T(0)) {}

    /// The gradient passes straight through the clamp of the variance, as PyTorch's does.
    LossTerms<T> operator()(const P& p, const P& t, const P& variance) const {
        const P half = Simd<T>::set(T(0.5));
        const P least = Simd<T>::set(eps);
        const P v = pk::pselect(pk::pcmp_lt(variance, least), least, variance);
        const P d = pk::psub(p, t);
        const P inverse = pk::pdiv(Simd<T>::set(T(1)), v);
        const P dpred = pk::pmul(d, inverse);
        const P distance = pk::pmul(d, dpred);
        const P value = pk::pmul(half, pk::padd(log_packet<T>(v), distance));
        const P daux = pk::pmul(half, pk::pmul(inverse, pk::psub(Simd<T>::set(T(1)), distance)));
        return {pk::padd(value, Simd<T>::set(constant)), dpred, daux};
    }

    T eps;
    T constant;
};

template <class T>
struct LossFunction<T, LossKind::kl_div> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions& options) : log_target(options.log_target) {}

    /// A target of zero costs nothing, also where the prediction is minus infinity.
    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P zero = Simd<T>::set(T(0));
        const P share = log_target ? exp_packet<T>(t) : t;
        const P log_share = log_target ? t : log_packet<T>(t);
        const P nothing = pk::pcmp_eq(share, zero);
        const P impossible = pk::pcmp_eq(p, Simd<T>::set(-std::numeric_limits<T>::infinity()));
        const P gained = pk::pandnot(pk::pmul(share, log_share), nothing);
        const P expected = pk::pandnot(pk::pmul(share, p), pk::pand(nothing, impossible));
        return {pk::psub(gained, expected), pk::pnegate(share), t};
    }

    bool log_target;
};

template <class T>
struct LossFunction<T, LossKind::binary_cross_entropy> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions&) {}

    /// With e = exp(-|p|), both log(1 + exp(p)) and the sigmoids of p and -p are free of overflow
    /// and cancellation:  loss = w t softplus(-p) + (1 - t) softplus(p),  w the weight of
    /// positives.
    LossTerms<T> operator()(const P& p, const P& t, const P& positive_weight) const {
        const P zero = Simd<T>::set(T(0));
        const P one = Simd<T>::set(T(1));
        const P e = exp_normal_packet<T>(pk::pnegate(pk::pabs(p)));
        const P positive = pk::pcmp_lt(zero, p);
        const P softplus_far = log1p_fraction_packet<T>(e);  // of -|p|
        const P softplus_near = pk::padd(softplus_far, pk::pabs(p));
        const P larger = pk::pdiv(one, pk::padd(one, e));  // sigmoid of |p|
        const P smaller = pk::pmul(e, larger);

        const P if_on = pk::pmul(positive_weight, t);
        const P if_off = pk::psub(one, t);
        const P value_on = pk::pmul(if_on, pk::pselect(positive, softplus_far, softplus_near));
        const P value_off = pk::pmul(if_off, pk::pselect(positive, softplus_near, softplus_far));
        const P slope_on = pk::pmul(if_on, pk::pselect(positive, smaller, larger));
        const P slope_off = pk::pmul(if_off, pk::pselect(positive, larger, smaller));
        return {pk::padd(value_on, value_off), pk::psub(slope_off, slope_on), t};
    }
};

template <class T>
struct LossFunction<T, LossKind::binary_focal> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions& options)
        : gamma(static_cast<T>(options.gamma)),
          weight_on(static_cast<T>(options.alpha < 0 ? 1.0 : options.alpha)),
          weight_off(static_cast<T>(options.alpha < 0 ? 1.0 : 1.0 - options.alpha)) {}

    /// As binary_cross_entropy, with the probability of being wrong to the power of gamma before
    /// each logarithm: sigmoid(x)^gamma = exp(-gamma softplus(-x)).
    LossTerms<T> operator()(const P& p, const P& t, const P&) const {
        const P one = Simd<T>::set(T(1));
        const P exponent = Simd<T>::set(gamma);
        const P e = exp_normal_packet<T>(pk::pnegate(pk::pabs(p)));
        const P positive = pk::pcmp_lt(Simd<T>::set(T(0)), p);
        const P softplus_far = log1p_fraction_packet<T>(e);  // of -|p|
        const P softplus_near = pk::padd(softplus_far, pk::pabs(p));
        const P larger = pk::pdiv(one, pk::padd(one, e));  // sigmoid of |p|
        const P smaller = pk::pmul(e, larger);
        const P larger_power = exp_normal_packet<T>(pk::pnegate(pk::pmul(exponent, softplus_far)));
        const P smaller_power =
            exp_normal_packet<T>(pk::pnegate(pk::pmul(exponent, softplus_near)));

        // On the right side of zero, and on the wrong one; negative targets are their mirror.
        const P right = pk::pmul(smaller_power, softplus_far);
        const P wrong = pk::pmul(larger_power, softplus_near);
        const P right_slope =
            pk::pmul(smaller_power, pk::pmadd(exponent, pk::pmul(larger, softplus_far), smaller));
        const P wrong_slope =
            pk::pmul(larger_power, pk::pmadd(exponent, pk::pmul(smaller, softplus_near), larger));

        const P if_on = pk::pmul(Simd<T>::set(weight_on), t);
        const P if_off = pk::pmul(Simd<T>::set(weight_off), pk::psub(one, t));
        const P value_on = pk::pmul(if_on, pk::pselect(positive, right, wrong));
        const P value_off = pk::pmul(if_off, pk::pselect(positive, wrong, right));
        const P slope_on = pk::pmul(if_on, pk::pselect(positive, right_slope, wrong_slope));
        const P slope_off = pk::pmul(if_off, pk::pselect(positive, wrong_slope, right_slope));
        return {pk::padd(value_on, value_off), pk::psub(slope_off, slope_on), t};
    }

    T gamma;
    T weight_on;
    T weight_off;
};

/// A penalty of weights: there is no target, and the compiler drops the loads of it.
template <class T>
struct LossFunction<T, LossKind::elastic_net> {
    using P = PacketOf<T>;
    static constexpr bool kAuxGradient = false;

    explicit LossFunction(const LossOptions& options)
        : l1(static_cast<T>(options.l1)), l2(static_cast<T>(options.l2)) {}

    /// The derivative at zero is zero.
    LossTerms<T> operator()(const P& w, const P&, const P&) const {
        const P zero = Simd<T>::set(T(0));
        const P strength = Simd<T>::set(l1), curvature = Simd<T>::set(l2);
        const P scaled = pk::pmul(curvature, w);
        const P sign = pk::psub(pk::pand(pk::pcmp_lt(zero, w), strength),
                                pk::pand(pk::pcmp_lt(w, zero), strength));
        const P value = pk::pmadd(strength, pk::pabs(w), pk::pmul(scaled, w));
        return {value, pk::padd(sign, pk::padd(scaled, scaled)), w};
    }

    T l1;
    T l2;
};

}  // namespace fastprop
