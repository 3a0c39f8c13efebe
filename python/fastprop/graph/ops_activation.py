"""Activation functions, PyTorch's definitions.

All elementwise ones are one op with a kind. Its derivative comes from the output where the function
allows it, else from the input, as the kernels say; the derivative of that is the table CURVATURE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastprop import _core
from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.ops_elementwise import abs as absolute
from fastprop.graph.ops_elementwise import exp, less, less_equal, minimum, sign, square, where
from fastprop.graph.ops_reduction import sum_to
from fastprop.graph.ops_shape import as_floating, reshape
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.registry import lookup

INFO: list[tuple[str, bool]] = _core.activation_info()
"""Name of every kind in the order of its code, and whether its derivative comes from the output."""

KINDS = {name: kind for kind, (name, _) in enumerate(INFO)}


def _forward(x: TensorLike, name: str, p0: float = 0.0, p1: float = 0.0) -> Tensor:
    return apply(_ACTIVATION, as_floating(x), kind=KINDS[name], p0=float(p0), p1=float(p1))


def _backward(h: Tensor, dy: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(_BACKWARD, h, dy, **attrs)


def _vjp(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
    _, uses_output = INFO[y.attrs["kind"]]
    return _backward(y if uses_output else x, dy, y.attrs)


def _backward_vjp(g: Tensor, dx: Tensor, h: Tensor, dy: Tensor) -> Tensor | None:
    name, _ = INFO[dx.attrs["kind"]]
    if name in PIECEWISE_LINEAR:
        return None
    return g * dy * CURVATURE[name](h, dx.attrs["p0"], dx.attrs["p1"])


_ACTIVATION = register("activation", infer.elementwise, _vjp, rowwise=True, inplace=True)
_BACKWARD = register(
    "activation_backward",
    infer.same_shape,
    _backward_vjp,
    lambda g, dx, h, dy: _backward(h, g, dx.attrs),
    rowwise=True,
    inplace=True,
)


def infer_prelu(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x, slope of one element or one for each index of axis 1 (and dy) → the shape of x."""
    x, slope, *rest = specs
    dtype = infer.float_dtype(name, specs)
    channels = x.shape[1:2] if len(x.shape) > 1 else (1,)
    if slope.batched or slope.shape not in ((1,), channels):
        raise ValueError(
            f"{name}: slope must have 1 element, or one for each index of axis 1 of {x.shape}, "
            f"got shape {slope.shape}"
        )
    for dy in rest:
        if dy.shape != x.shape:
            raise ValueError(f"{name}: x has shape {x.shape}, dy has {dy.shape}")
    return Spec(x.shape, dtype, x.batched)


def infer_prelu_slope(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    infer_prelu(name, specs, attrs)
    return specs[1]


def _flat(x: Tensor) -> Tensor:
    """1 on the side of the kink where x is not positive."""
    return less_equal(x, 0)


def _along_channels(slope: Tensor, x: Tensor) -> Tensor:
    return slope if slope.size == 1 else reshape(slope, (1, slope.size, *[1] * (x.ndim - 2)))


def _sum_to_slope(values: Tensor, slope: Tensor) -> Tensor:
    channels = _along_channels(slope, values)
    return reshape(sum_to(values, channels), slope.shape)


_PRELU = register(
    "prelu",
    infer_prelu,
    lambda dy, y, x, slope: apply(_PRELU_DATA, x, slope, dy),
    lambda dy, y, x, slope: apply(_PRELU_SLOPE, x, slope, dy),
    rowwise=(0,),
)
_PRELU_DATA: Op = register(
    "prelu_backward_data",
    infer_prelu,
    None,
    lambda g, dx, x, slope, dy: _sum_to_slope(g * dy * _flat(x), slope),
    lambda g, dx, x, slope, dy: apply(_PRELU_DATA, x, slope, g),
    rowwise=(0, 2),
)
_PRELU_SLOPE: Op = register(
    "prelu_backward_slope",
    infer_prelu_slope,
    lambda g, ds, x, slope, dy: _along_channels(g, x) * dy * _flat(x),
    None,
    lambda g, ds, x, slope, dy: _along_channels(g, x) * x * _flat(x),
)


def elementwise(name: str, formula: str, source: str) -> Callable[[TensorLike], Tensor]:
    """The function of an activation without parameters."""

    kind = KINDS[name]

    def function(x: TensorLike) -> Tensor:
        if not isinstance(x, Tensor) or x.dtype.kind != "f":
            x = as_floating(x)
        return apply(_ACTIVATION, x, kind=kind, p0=0.0, p1=0.0)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f""":math:`{formula}`, element by element ({source}).

    Args:
        x: Tensor, array or number; float32 or float64.

    Returns:
        Tensor of the shape and dtype of `x` (of integers, float32).
    """
    return function


def identity(x: TensorLike) -> Tensor:
    """`x` itself."""
    return as_tensor(x)


relu = elementwise("relu", r"\max(x, 0)", "Nair & Hinton 2010")
selu = elementwise(
    "selu", r"\lambda \max(x, 0) + \lambda \min(\alpha (e^x - 1), 0)", "Klambauer et al. 2017"
)
silu = elementwise("silu", r"x \sigma(x)", "Elfwing et al. 2018")
mish = elementwise("mish", r"x \tanh(\log(1 + e^x))", "Misra 2019")
softsign = elementwise("softsign", r"x / (1 + |x|)", "Glorot & Bengio 2010")
sigmoid = elementwise("sigmoid", r"\sigma(x) = 1 / (1 + e^{-x})", "the logistic function")
hard_sigmoid = elementwise(
    "hard_sigmoid", r"\min(\max(x / 6 + 1/2, 0), 1)", "Courbariaux et al. 2015, PyTorch's slope"
)
hard_swish = elementwise("hard_swish", r"x \min(\max(x / 6 + 1/2, 0), 1)", "Howard et al. 2019")
tanh = elementwise("tanh", r"\tanh(x)", "the hyperbolic tangent")


def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """`x` where it is positive, else ``negative_slope * x`` (Maas et al. 2013)."""
    return _forward(x, "leaky_relu", negative_slope)


def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2016)."""
    return _forward(x, "elu", alpha)


def celu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron 2017).

    Raises:
        ValueError: `alpha` is 0.
    """
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return _forward(x, "celu", alpha)


def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    r""":math:`x \Phi(x)` with the normal distribution's :math:`\Phi` (Hendrycks & Gimpel 2016).

    Args:
        x: Tensor of float32 or float64.
        approximate: ``"none"`` for the error function, ``"tanh"`` for
            :math:`\frac{x}{2} (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3)))`.

    Raises:
        ValueError: `approximate` is neither.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return _forward(x, "gelu" if approximate == "none" else "gelu_tanh")


def gelu_tanh(x: TensorLike) -> Tensor:
    """:func:`gelu` with ``approximate="tanh"``."""
    return _forward(x, "gelu_tanh")


def softplus(x: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    r""":math:`\frac{1}{\beta} \log(1 + e^{\beta x})`; `x` itself where ``beta * x > threshold``.

    Raises:
        ValueError: `beta` is 0.
    """
    if beta == 0:
        raise ValueError("softplus: beta must not be 0")
    return _forward(x, "softplus", beta, threshold)


def prelu(x: TensorLike, slope: TensorLike) -> Tensor:
    """`x` where it is positive, else ``slope * x`` with a slope that is learned (He et al. 2015).

    Args:
        x: Tensor of float32 or float64.
        slope: One element, or one for each index of axis 1 of `x` (features, or channels).

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: `slope` does not fit.
    """
    x = as_tensor(x)
    slope = as_tensor(slope, like=x)
    return apply(_PRELU, x, reshape(slope, 1) if slope.shape == () else slope)


ACTIVATIONS: dict[str, Callable[[TensorLike], Tensor]] = {
    f.__name__: f
    for f in (
        identity,
        relu,
        leaky_relu,
        elu,
        selu,
        celu,
        gelu,
        gelu_tanh,
        silu,
        mish,
        softplus,
        softsign,
        sigmoid,
        hard_sigmoid,
        hard_swish,
        tanh,
    )
}
"""Every activation that needs no further operand, by name, with its default parameters."""


def activation(x: TensorLike, function: str | Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an activation given by name, or any function on Tensors.

    Raises:
        ValueError: There is no activation of that name; the message has the nearest one.
    """
    if isinstance(function, str):
        return lookup("activation", "activation", function, ACTIVATIONS)(x)
    return function(as_tensor(x))


# -- Derivatives of derivatives ------------------------------------------------------------------

PIECEWISE_LINEAR = ("identity", "relu", "leaky_relu", "hard_sigmoid")
"""Their derivative is flat, so its derivative is zero (but at the kinks)."""


_NORMAL = 1 / math.sqrt(2 * math.pi)


def _gelu(x: Tensor) -> Tensor:
    return _NORMAL * exp(-0.5 * square(x)) * (2 - square(x))


def _gelu_tanh(x: Tensor) -> Tensor:
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = tanh(c * (x + a * x * square(x)))
    du, ddu = c * (1 + 3 * a * square(x)), 6 * a * c * x
    return (1 - square(t)) * (du + 0.5 * x * (ddu - 2 * t * square(du)))


def _silu(x: Tensor) -> Tensor:
    s = sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _mish(x: Tensor) -> Tensor:
    t, s = tanh(softplus(x)), sigmoid(x)
    return (1 - square(t)) * s * (2 + x * (1 - s - 2 * t * s))


def _softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    s = sigmoid(beta * x)
    return where(beta * x > threshold, 0.0, beta * s * (1 - s))


def _decay(x: Tensor, scale: float, rate: float) -> Tensor:
    """scale exp(rate x) for x <= 0, else 0; no overflow on the side that is not taken."""
    return where(_flat(x), scale * exp(rate * minimum(x, 0)), 0.0)


# df'/dh, where h is the output y for the first group, else the input x, and f' is written in h.
CURVATURE: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "tanh": lambda y, p0, p1: -2 * y,  # f' = 1 - y^2
    "sigmoid": lambda y, p0, p1: 1 - 2 * y,  # f' = y (1 - y)
    "softsign": lambda y, p0, p1: -2 * sign(y) * (1 - absolute(y)),  # f' = (1 - |y|)^2
    "selu": lambda y, p0, p1: _flat(y),  # f' = y + scale alpha
    "elu": lambda x, alpha, p1: _decay(x, alpha, 1.0),
    "celu": lambda x, alpha, p1: _decay(x, 1 / alpha, 1 / alpha),
    "gelu": lambda x, p0, p1: _gelu(x),
    "gelu_tanh": lambda x, p0, p1: _gelu_tanh(x),
    "silu": lambda x, p0, p1: _silu(x),
    "mish": lambda x, p0, p1: _mish(x),
    "softplus": _softplus,
    "hard_swish": lambda x, p0, p1: (1 / 3) * less(absolute(x), 3),
}
