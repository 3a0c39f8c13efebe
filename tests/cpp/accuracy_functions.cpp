// The functions of accuracy.h: kernels on the left, formulas of a textbook on the right.

#include <cmath>
#include <limits>
#include <utility>

#include "accuracy.h"
#include "kernels/activation.h"
#include "kernels/elementwise.h"

namespace fastprop::test {
namespace {

/// f in both wider types.
template <class F>
Function wide(std::string name, F f, double ulp32, double ulp64) {
    return {std::move(name), nullptr, nullptr, f, f, ulp32, ulp64};
}

template <Unary kind, class F>
Function unary_op(const char* name, F f, double ulp32, double ulp64) {
    Function result = wide(name, f, ulp32, ulp64);
    result.f32 = unary<float, kind>;
    result.f64 = unary<double, kind>;
    return result;
}

/// Their parameters as users have them by default: slope, alpha or beta; softplus's threshold.
template <Activation kind>
constexpr double kFirst = kind == Activation::leaky_relu ? 0.0078125 : 1.0;
constexpr double kThreshold = 20.0;

template <Activation kind, class T>
void forward(const T* x, T* y, Index n) {
    activation_forward(kind, T(kFirst<kind>), T(kThreshold), x, y, n);
}

template <Activation kind, class T>
void derivative(const T* h, T* dx, Index n) {
    const std::vector<T> ones(static_cast<std::size_t>(n), T(1));
    activation_backward(kind, T(kFirst<kind>), T(kThreshold), h, ones.data(), dx, n);
}

template <Activation kind, class F>
Function value_of(F f, double ulp32, double ulp64) {
    Function result = wide(activation_name(kind), f, ulp32, ulp64);
    result.f32 = forward<kind, float>;
    result.f64 = forward<kind, double>;
    return result;
}

template <Activation kind, class F>
Function slope_of(F f, double ulp32, double ulp64) {
    Function result = wide(std::string(activation_name(kind)) + "'", f, ulp32, ulp64);
    result.f32 = derivative<kind, float>;
    result.f64 = derivative<kind, double>;
    return result;
}

Function flushed(Function f) {
    f.flushes = true;
    return f;
}

/// For sums that cancel at a zero of their own: errors in ulp of a quarter there.
Function near_zero(Function f) {
    f.scale = 0.25;
    return f;
}

Function on(double low, double high, Function f) {
    f.low = low;
    f.high = high;
    return f;
}

Function within(double least, double greatest, Function f) {
    f.least = least;
    f.greatest = greatest;
    return f;
}

// ---- Formulas ----------------------------------------------------------------------------------

/// x f(x) for an f that decays: no infinity times zero.
template <class W, class F>
W product(W x, F f) {
    const W held = std::fmax(x, W(-2000));  // fmax drops a NaN
    return std::isnan(x) ? x : std::isinf(x) && x < 0 ? W(0) : x * f(held);
}

template <class W>
W clamped(W x) {
    return std::isnan(x) ? x : std::fmin(std::fmax(x, W(-2000)), W(2000));
}

template <class W>
W logistic(W x) {
    return 1 / (1 + std::exp(-x));
}

template <class W>
W normal_cdf(W x) {
    return std::erfc(-x * std::sqrt(W(0.5))) / 2;
}

template <class W>
W gelu_tanh_inner(W x) {
    return W(1.5957691216057307117597842397375L) * (x + W(0.044715L) * x * x * x);
}

const auto kGeluSlope = [](auto any) {
    using W = decltype(any);
    const W x = clamped(any);
    const W density = std::exp(-x * x / 2) * W(0.39894228040143267793994605993438L);
    return normal_cdf(x) + x * density;
};

const auto kGeluTanhSlope = [](auto any) {
    using W = decltype(any);
    const W x = clamped(any);
    const W s = logistic(gelu_tanh_inner(x)), rest = logistic(-gelu_tanh_inner(x));
    const W inner = W(1.5957691216057307117597842397375L) * (1 + W(0.134145L) * x * x);
    return s + x * inner * s * rest;
};

const auto kSiluSlope = [](auto any) {
    const auto x = clamped(any);
    return logistic(x) + x * logistic(x) * logistic(-x);
};

const auto kMishSlope = [](auto any) {
    using W = decltype(any);
    const W x = std::isnan(any) ? any : std::fmin(std::fmax(any, W(-2000)), W(100));
    const W e = std::exp(x), n = e * (e + 2);
    return n / (n + 2) + 4 * x * e * (1 + e) / ((n + 2) * (n + 2));
};

const auto kMish = [](auto x) {
    using W = decltype(x);
    return product(x, [](W held) {
        const W e = std::exp(std::fmin(held, W(100)));
        return e * (e + 2) / (e * (e + 2) + 2);
    });
};

const auto kSoftplus = [](auto x) {
    using W = decltype(x);
    return x > W(kThreshold) ? x : std::log1p(std::exp(x));
};

const auto kSoftplusSlope = [](auto x) {
    using W = decltype(x);
    return x > W(kThreshold) ? W(1) : logistic(x);
};

const auto kElu = [](auto x) { return x > 0 ? x : std::expm1(x); };
const auto kEluSlope = [](auto x) { return x > 0 ? decltype(x)(1) : std::exp(x); };

constexpr long double kSeluScale = 1.0507009873554804934193349852946L;
constexpr long double kSeluAlpha = 1.7580993408473768599402175208123L;

std::vector<Function> elementwise_functions() {
    return {
        unary_op<Unary::exp>(
            "exp", [](auto x) { return std::exp(x); }, 1.2, 1.2),
        unary_op<Unary::expm1>(
            "expm1", [](auto x) { return std::expm1(x); }, 2.0, 2.7),
        unary_op<Unary::log>(
            "log", [](auto x) { return std::log(x); }, 0.9, 0.9),
        unary_op<Unary::log2>(
            "log2", [](auto x) { return std::log2(x); }, 2.2, 2.2),
        unary_op<Unary::log1p>(
            "log1p", [](auto x) { return std::log1p(x); }, 1.6, 1.6),
        unary_op<Unary::sin>(
            "sin", [](auto x) { return std::sin(x); }, 2.6, 2.6),
        unary_op<Unary::cos>(
            "cos", [](auto x) { return std::cos(x); }, 2.6, 2.6),
        unary_op<Unary::tan>(
            "tan", [](auto x) { return std::tan(x); }, 3.7, 3.5),
        unary_op<Unary::asin>(
            "asin", [](auto x) { return std::asin(x); }, 2.5, 2.3),
        unary_op<Unary::acos>(
            "acos", [](auto x) { return std::acos(x); }, 1.2, 1.2),
        unary_op<Unary::atan>(
            "atan", [](auto x) { return std::atan(x); }, 2.3, 2.1),
        unary_op<Unary::sinh>(
            "sinh", [](auto x) { return std::sinh(x); }, 1.8, 1.8),
        unary_op<Unary::cosh>(
            "cosh", [](auto x) { return std::cosh(x); }, 1.7, 1.7),
        unary_op<Unary::asinh>(
            "asinh", [](auto x) { return std::asinh(x); }, 2.3, 2.2),
        unary_op<Unary::acosh>(
            "acosh", [](auto x) { return std::acosh(x); }, 2.8, 2.2),
        unary_op<Unary::atanh>(
            "atanh", [](auto x) { return std::atanh(x); }, 2.7, 2.2),
        within(-1, 1,
               unary_op<Unary::erf>(
                   "erf", [](auto x) { return std::erf(x); }, 1.4, 1.5)),
        unary_op<Unary::sqrt>(
            "sqrt", [](auto x) { return std::sqrt(x); }, 0.5, 0.501),
        unary_op<Unary::rsqrt>(
            "rsqrt", [](auto x) { return 1 / std::sqrt(x); }, 1.5, 1.5),
        unary_op<Unary::reciprocal>(
            "reciprocal", [](auto x) { return 1 / x; }, 0.5, 0.501),
    };
}

std::vector<Function> activation_values() {
    using A = Activation;
    return {
        value_of<A::elu>(kElu, 2.7, 2.7),
        value_of<A::selu>(
            [](auto x) {
                using W = decltype(x);
                return x > 0 ? W(kSeluScale) * x : W(kSeluAlpha) * std::expm1(x);
            },
            2.7, 2.7),
        value_of<A::celu>(kElu, 2.7, 2.7),
        flushed(value_of<A::gelu>(
            [](auto x) { return product(x, [](auto v) { return normal_cdf(v); }); }, 7.0, 7.0)),
        near_zero(value_of<A::gelu_tanh>(
            [](auto x) { return product(x, [](auto v) { return logistic(gelu_tanh_inner(v)); }); },
            2.8, 2.8)),
        flushed(value_of<A::silu>(
            [](auto x) { return product(x, [](auto v) { return logistic(v); }); }, 4.2, 4.2)),
        flushed(value_of<A::mish>(kMish, 5.0, 5.0)),
        flushed(value_of<A::softplus>(kSoftplus, 3.0, 3.0)),
        within(-1, 1,
               value_of<A::softsign>(
                   [](auto x) {
                       using W = decltype(x);
                       return std::isinf(x) ? std::copysign(W(1), x) : x / (1 + std::abs(x));
                   },
                   1.5, 1.5)),
        within(0, 1, flushed(value_of<A::sigmoid>([](auto x) { return logistic(x); }, 2.6, 2.6))),
        within(-1, 1, value_of<A::tanh>([](auto x) { return std::tanh(x); }, 2.6, 2.7)),
    };
}

std::vector<Function> activation_slopes() {
    using A = Activation;
    const double selu_least = -static_cast<double>(kSeluAlpha);
    return {
        flushed(slope_of<A::elu>(kEluSlope, 1.2, 1.2)),
        on(selu_least, kInfinity,
           near_zero(slope_of<A::selu>(
               [](auto y) {
                   using W = decltype(y);
                   return y > 0 ? W(kSeluScale) : y + W(kSeluAlpha);
               },
               1.5, 1.5))),
        flushed(slope_of<A::celu>(kEluSlope, 1.2, 1.2)),
        near_zero(slope_of<A::gelu>(kGeluSlope, 6.0, 6.5)),
        near_zero(slope_of<A::gelu_tanh>(kGeluTanhSlope, 3.2, 3.2)),
        near_zero(slope_of<A::silu>(kSiluSlope, 3.0, 3.0)),
        near_zero(slope_of<A::mish>(kMishSlope, 4.0, 4.0)),
        flushed(slope_of<A::softplus>(kSoftplusSlope, 2.6, 2.6)),
        on(-1, 1,
           slope_of<A::softsign>(
               [](auto y) {
                   const auto rest = 1 - std::abs(y);
                   return rest * rest;
               },
               2.1, 2.1)),
        on(0, 1, slope_of<A::sigmoid>([](auto y) { return y * (1 - y); }, 1.6, 1.6)),
        on(-1, 1, slope_of<A::tanh>([](auto y) { return (1 - y) * (1 + y); }, 1.6, 1.6)),
    };
}

}  // namespace

const std::vector<Function>& functions() {
    static const std::vector<Function> all = [] {
        std::vector<Function> list = elementwise_functions();
        for (const auto& family : {activation_values(), activation_slopes()})
            list.insert(list.end(), family.begin(), family.end());
        return list;
    }();
    return all;
}

}  // namespace fastprop::test
