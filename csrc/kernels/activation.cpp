#include "kernels/activation.h"

#include <array>
#include <utility>

#include "core/check.h"
#include "kernels/activation_functions.h"

namespace fastprop {

namespace {

using activation_detail::ActivationFunction;

template <class T, int kind>
void forward(T p0, T p1, const T* x, T* y, Index n) {
    const ActivationFunction<T, static_cast<Activation>(kind)> f(p0, p1);
    map_packets(x, y, n, [&f](const Vec<T>& v) { return f.forward(v); });
}

template <class T, int kind>
void with_slope(T p0, T p1, const T* x, T* y, T* slope, Index n) {
    using S = Simd<T>;
    const ActivationFunction<T, static_cast<Activation>(kind)> f(p0, p1);
    Index i = 0;
    for (; i + S::width <= n; i += S::width) {
        const Vec<T> v = S::load(x + i);
        S::store(y + i, f.forward(v));
        S::store(slope + i, f.derivative(v));
    }
    if (i < n) {
        const Vec<T> v = S::load_partial(x + i, n - i);
        S::store_partial(y + i, f.forward(v), n - i);
        S::store_partial(slope + i, f.derivative(v), n - i);
    }
}

template <class T, int kind>
void backward(T p0, T p1, const T* h, const T* dy, T* dx, Index n) {
    if constexpr (kind == static_cast<int>(Activation::slope)) {
        map_packets(h, dy, dx, n, [](const Vec<T>& v, const Vec<T>& d) { return pk::pmul(d, v); });
        return;
    } else {
        const ActivationFunction<T, static_cast<Activation>(kind)> f(p0, p1);
        map_packets(h, dy, dx, n, [&f](const Vec<T>& v, const Vec<T>& d) {
            // relu lets nothing of dy through where it is off, not even a NaN from 0 * inf.
            if constexpr (kind == static_cast<int>(Activation::relu)) {
                const Vec<T> zero = Simd<T>::set(T(0));
                return pk::pselect(pk::pcmp_le(v, zero), zero, d);
            } else {
                return pk::pmul(d, f.derivative(v));
            }
        });
    }
}

template <class T>
using Forward = void (*)(T, T, const T*, T*, Index);

template <class T>
using Backward = void (*)(T, T, const T*, const T*, T*, Index);

template <class T, int... kinds>
constexpr std::array<Forward<T>, sizeof...(kinds)> forward_table(
    std::integer_sequence<int, kinds...>) {
    return {&forward<T, kinds>...};
}

template <class T, int... kinds>
constexpr std::array<Backward<T>, sizeof...(kinds)> backward_table(
    std::integer_sequence<int, kinds...>) {
    return {&backward<T, kinds>...};
}

template <class T>
using WithSlope = void (*)(T, T, const T*, T*, T*, Index);

template <class T, int... kinds>
constexpr std::array<WithSlope<T>, sizeof...(kinds)> slope_table(
    std::integer_sequence<int, kinds...>) {
    return {&with_slope<T, kinds>...};
}

using AllKinds = std::make_integer_sequence<int, kNumActivations>;
using AllDerivatives = std::make_integer_sequence<int, kNumActivations + 1>;

constexpr const char* kNames[kNumActivations] = {
    "identity", "relu",         "leaky_relu", "elu",  "selu",     "celu",
    "gelu",     "gelu_tanh",    "silu",       "mish", "softplus", "softsign",
    "sigmoid",  "hard_sigmoid", "hard_swish", "tanh"};

int checked(Activation kind) {
    const int value = static_cast<int>(kind);
    require(value >= 0 && value < kNumActivations, "activation: there is no kind ", value);
    return value;
}

}  // namespace

const char* activation_name(Activation kind) { return kNames[checked(kind)]; }

Activation activation_from_attribute(double value) {
    // Compared as a double first: converting a huge number or NaN to int would be undefined.
    require(value >= 0 && value < kNumActivations, "activation: there is no kind ", value);
    const auto kind = static_cast<Activation>(static_cast<int>(value));
    require(static_cast<double>(kind) == value, "activation: kind must be an integer, got ", value);
    return kind;
}

Activation derivative_from_attribute(double value) {
    if (value == static_cast<double>(Activation::slope)) return Activation::slope;
    return activation_from_attribute(value);
}

bool activation_uses_output(Activation kind) {
    checked(kind);
    switch (kind) {
        case Activation::identity:
        case Activation::relu:
        case Activation::selu:
        case Activation::softsign:
        case Activation::sigmoid:
        case Activation::hard_sigmoid:
        case Activation::tanh:
            return true;
        default:
            return false;
    }
}

template <class T>
void activation_forward(Activation kind, T p0, T p1, const T* x, T* y, Index n) {
    static constexpr auto kTable = forward_table<T>(AllKinds{});
    kTable[static_cast<std::size_t>(kind)](p0, p1, x, y, n);
}

template <class T>
void activation_backward(Activation kind, T p0, T p1, const T* h, const T* dy, T* dx, Index n) {
    static constexpr auto kTable = backward_table<T>(AllDerivatives{});
    kTable[static_cast<std::size_t>(kind)](p0, p1, h, dy, dx, n);
}

template <class T>
void activation_with_slope(Activation kind, T p0, T p1, const T* x, T* y, T* slope, Index n) {
    static constexpr auto kTable = slope_table<T>(AllKinds{});
    kTable[static_cast<std::size_t>(kind)](p0, p1, x, y, slope, n);
}

template void activation_forward<float>(Activation, float, float, const float*, float*, Index);
template void activation_forward<double>(Activation, double, double, const double*, double*, Index);
template void activation_backward<float>(Activation, float, float, const float*, const float*,
                                         float*, Index);
template void activation_backward<double>(Activation, double, double, const double*, const double*,
                                          double*, Index);

template void activation_with_slope<float>(Activation, float, float, const float*, float*, float*,
                                           Index);
template void activation_with_slope<double>(Activation, double, double, const double*, double*,
                                            double*, Index);

}  // namespace fastprop
