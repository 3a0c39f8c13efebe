"""Activation functions and their derivatives, and softmax, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from numpy.typing import ArrayLike

from fastprop.graph.ops_activation import INFO, KINDS
from fastprop.kernels._call import Array, call, operands
from fastprop.registry import lookup

PARAMETERS: dict[str, dict[str, float]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "softplus": {"beta": 1.0, "threshold": 20.0},
}
"""Parameters of the activations that have some, with their defaults."""


def activation_attributes(
    name: str, activation: str, parameters: Sequence[float]
) -> tuple[int, float, float]:
    """Kind and parameters of an activation as the kernels take them."""
    kind = lookup(name, "activation", activation, KINDS)
    known = PARAMETERS.get(activation, {})
    if len(parameters) > len(known):
        raise ValueError(f"{name}: {activation} has {len(known)} parameters, got {len(parameters)}")
    values = [float(p) for p in parameters] + list(known.values())[len(parameters) :]
    if activation in ("celu", "softplus") and values[0] == 0:
        raise ValueError(f"{name}: {next(iter(known))} must not be 0")
    p0, p1 = (*values, 0.0, 0.0)[:2]
    return kind, p0, p1


_FORWARD_DOC = """Forward pass of {title}, :math:`y = {formula}`, element by element.

    Args:
        x: float32 or float64, any shape.{parameters}
        out: Array to write to; may be `x`.

    Returns:
        Array of the shape and dtype of `x`.

    Raises:
        TypeError: `x` is not of a floating dtype, or `out` of another one.
        ValueError: `out` has another shape, is read-only or not contiguous.
    """
_BACKWARD_DOC = """Backward pass of {title}, :math:`dx = dy \\cdot {derivative}`.

    Args:
        h: The {of} of the forward pass, from which the derivative is taken.
        dy: Derivative by the output; shape and dtype of `h`.{parameters}
        out: Array to write to; may be `h` or `dy`.

    Returns:
        Derivative by the input.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes differ, or `out` does not fit.
    """


def _signature(arguments: Sequence[str], options: dict[str, Any]) -> Signature:
    named = [Parameter(a, Parameter.POSITIONAL_OR_KEYWORD) for a in arguments]
    named += [Parameter(o, Parameter.POSITIONAL_OR_KEYWORD, default=d) for o, d in options.items()]
    return Signature([*named, Parameter("out", Parameter.POSITIONAL_OR_KEYWORD, default=None)])


def _pair(
    activation: str, title: str, formula: str, derivative: str
) -> tuple[Callable[..., Array], Callable[..., Array]]:
    """``<activation>_forward`` and ``<activation>_backward``."""
    defaults = PARAMETERS.get(activation, {})
    listed = "".join(f"\n        {p}: Parameter of the function." for p in defaults)
    forward_name, backward_name = f"{activation}_forward", f"{activation}_backward"
    of = "output `y`" if INFO[KINDS[activation]][1] else "input `x`"
    forward_signature = _signature(["x"], defaults)
    backward_signature = _signature(["h", "dy"], defaults)

    def run(
        name: str, op: str, signature: Signature, labels: Sequence[str], args: Any, kwargs: Any
    ) -> Array:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        given.apply_defaults()
        values = given.arguments
        kind, p0, p1 = activation_attributes(name, activation, [values[p] for p in defaults])
        inputs = operands(name, **{label: values[label] for label in labels})
        attrs = {"kind": kind, "p0": p0, "p1": p1}
        return call(name, op, inputs, values["out"], attrs=attrs, in_place=True)

    def forward(*args: Any, **kwargs: Any) -> Array:
        return run(forward_name, "activation", forward_signature, ["x"], args, kwargs)

    def backward(*args: Any, **kwargs: Any) -> Array:
        return run(
            backward_name, "activation_backward", backward_signature, ["h", "dy"], args, kwargs
        )

    forward.__name__ = forward.__qualname__ = forward_name
    backward.__name__ = backward.__qualname__ = backward_name
    forward.__signature__ = forward_signature  # type: ignore[attr-defined]
    backward.__signature__ = backward_signature  # type: ignore[attr-defined]
    forward.__doc__ = _FORWARD_DOC.format(title=title, formula=formula, parameters=listed)
    backward.__doc__ = _BACKWARD_DOC.format(
        title=title, derivative=derivative, of=of, parameters=listed
    )
    return forward, backward


relu_forward, relu_backward = _pair("relu", "the rectifier", r"\max(x, 0)", "[y > 0]")
leaky_relu_forward, leaky_relu_backward = _pair(
    "leaky_relu", "the leaky rectifier", r"\max(x, 0) + a \min(x, 0)", "(1 or a)"
)
elu_forward, elu_backward = _pair(
    "elu", "ELU", r"\max(x, 0) + \alpha (e^{\min(x, 0)} - 1)", r"(1 or \alpha e^x)"
)
selu_forward, selu_backward = _pair(
    "selu",
    "SELU",
    r"\lambda (\max(x, 0) + \alpha (e^{\min(x, 0)} - 1))",
    r"(\lambda or y + \lambda \alpha)",
)
celu_forward, celu_backward = _pair(
    "celu", "CELU", r"\max(x, 0) + \alpha (e^{\min(x, 0) / \alpha} - 1)", r"(1 or e^{x / \alpha})"
)
gelu_forward, gelu_backward = _pair("gelu", "GELU", r"x \Phi(x)", r"(\Phi(x) + x \varphi(x))")
gelu_tanh_forward, gelu_tanh_backward = _pair(
    "gelu_tanh",
    "GELU's approximation by tanh",
    r"\frac{x}{2} (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))",
    "f'(x)",
)
silu_forward, silu_backward = _pair(
    "silu", "SiLU", r"x \sigma(x)", r"\sigma(x) (1 + x (1 - \sigma(x)))"
)
mish_forward, mish_backward = _pair("mish", "Mish", r"x \tanh(\log(1 + e^x))", "f'(x)")
softplus_forward, softplus_backward = _pair(
    "softplus",
    "softplus (x itself beyond the threshold)",
    r"\log(1 + e^{\beta x}) / \beta",
    r"\sigma(\beta x)",
)
softsign_forward, softsign_backward = _pair("softsign", "softsign", "x / (1 + |x|)", "(1 - |y|)^2")
sigmoid_forward, sigmoid_backward = _pair(
    "sigmoid", "the logistic function", "1 / (1 + e^{-x})", "y (1 - y)"
)
hard_sigmoid_forward, hard_sigmoid_backward = _pair(
    "hard_sigmoid", "the hard sigmoid", r"\min(\max(x / 6 + 1/2, 0), 1)", "[0 < y < 1] / 6"
)
hard_swish_forward, hard_swish_backward = _pair(
    "hard_swish", "the hard swish", r"x \min(\max(x / 6 + 1/2, 0), 1)", "f'(x)"
)
tanh_forward, tanh_backward = _pair("tanh", "tanh", r"\tanh(x)", "(1 - y^2)")


def prelu_forward(x: ArrayLike, slope: ArrayLike, out: Array | None = None) -> Array:
    """`x` where it is positive, else ``slope * x`` (He et al. 2015).

    Args:
        x: float32 or float64.
        slope: One element, ``[1]``, or one for each index of axis 1 of `x`.
        out: Array to write to.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    return call("prelu_forward", "prelu", operands("prelu_forward", x=x, slope=slope), out)


def prelu_backward_data(
    x: ArrayLike, slope: ArrayLike, dy: ArrayLike, out: Array | None = None
) -> Array:
    """Derivative by `x`: `dy` where `x` > 0, else ``slope * dy``. As :func:`prelu_forward`."""
    name = "prelu_backward_data"
    return call(name, name, operands(name, x=x, slope=slope, dy=dy), out)


def prelu_backward_slope(
    x: ArrayLike, slope: ArrayLike, dy: ArrayLike, out: Array | None = None
) -> Array:
    """Derivative by `slope`: the sum of ``x * dy`` over negative `x`. As :func:`prelu_forward`."""
    name = "prelu_backward_slope"
    return call(name, name, operands(name, x=x, slope=slope, dy=dy), out)


def softmax_forward(x: ArrayLike, out: Array | None = None) -> Array:
    r"""Softmax along the last axis, :math:`y_i = e^{x_i} / \sum_j e^{x_j}`, without overflow.

    Args:
        x: ``[..., n]`` with at least two axes, float32 or float64.
        out: Array to write to.

    Raises:
        TypeError: `x` is not of a floating dtype.
        ValueError: `x` has fewer axes, or `out` does not fit.
    """
    return call("softmax_forward", "softmax", operands("softmax_forward", x=x), out)


def softmax_backward(y: ArrayLike, dy: ArrayLike, out: Array | None = None) -> Array:
    r"""From the output: :math:`dx_i = y_i (dy_i - \sum_j y_j dy_j)`. As :func:`softmax_forward`."""
    name = "softmax_backward"
    return call(name, name, operands(name, y=y, dy=dy), out)


def log_softmax_forward(x: ArrayLike, out: Array | None = None) -> Array:
    r"""Log of softmax, :math:`y_i = x_i - \log \sum_j e^{x_j}`. As :func:`softmax_forward`."""
    name = "log_softmax_forward"
    return call(name, "log_softmax", operands(name, x=x), out)


def log_softmax_backward(y: ArrayLike, dy: ArrayLike, out: Array | None = None) -> Array:
    r"""From the output: :math:`dx_i = dy_i - e^{y_i} \sum_j dy_j`. As :func:`softmax_forward`."""
    name = "log_softmax_backward"
    return call(name, name, operands(name, y=y, dy=dy), out)
