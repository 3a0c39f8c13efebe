#pragma once
/// @file
/// @brief Activation functions and their derivatives, PyTorch's definitions.
///
/// A kind is dispatched once per call, so a fused kernel calls these on a tile that is still in
/// cache.

#include "core/types.h"

namespace fastprop {

/// The values are part of the interface: Python writes them into instructions.
enum class Activation : int {
    identity = 0,
    relu = 1,
    leaky_relu,  ///< p0 = negative_slope
    elu,         ///< p0 = alpha
    selu,
    celu,  ///< p0 = alpha
    gelu,
    gelu_tanh,
    silu,
    mish,
    softplus,  ///< p0 = beta, p1 = threshold: linear where beta * x > threshold
    softsign,
    sigmoid,
    hard_sigmoid,  ///< clamp(x / 6 + 1/2, 0, 1)
    hard_swish,    ///< x * hard_sigmoid(x)
    tanh,
    slope,  ///< no function; of a backward pass alone: h is f'(x) itself
};

/// Of functions.
constexpr int kNumActivations = static_cast<int>(Activation::tanh) + 1;

/// "relu", "gelu_tanh", …; throws Error for a value that is no Activation.
const char* activation_name(Activation kind);

/// The Activation of an instruction's attribute; throws Error if there is none.
Activation activation_from_attribute(double value);

/// The same for a backward pass, which may take Activation::slope.
Activation derivative_from_attribute(double value);

/// Whether activation_backward wants h = y, the output; else it wants h = x, the input.
///
/// A property of the kind alone: relu, selu, softsign, sigmoid, hard_sigmoid, tanh (and identity,
/// which ignores h). leaky_relu, elu and celu use the input although their output would do for
/// positive parameters: with a slope or an alpha <= 0, which are legal, y does not tell the sign of
/// x. Throws Error for a value that is no Activation.
bool activation_uses_output(Activation kind);

/// y = f(x) on n elements. In place (y == x) is allowed. NaN propagates; +-inf give the limits.
/// `kind` must be valid: it is checked once, where an instruction is built.
template <class T>
void activation_forward(Activation kind, T p0, T p1, const T* x, T* y, Index n);

/// dx = dy * f'(x) on n elements; h is the output or the input, as activation_uses_output says.
/// dx may be dy (or h). At a kink the derivative is PyTorch's.
template <class T>
void activation_backward(Activation kind, T p0, T p1, const T* h, const T* dy, T* dx, Index n);

/// y = f(x) and slope = f'(x) for activations of which both need the same exponential. slope may
/// be x.
template <class T>
void activation_with_slope(Activation kind, T p0, T p1, const T* x, T* y, T* slope, Index n);

}  // namespace fastprop
