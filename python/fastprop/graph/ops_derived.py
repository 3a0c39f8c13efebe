"""Elementwise functions made of the primitives."""

from __future__ import annotations

import math

import numpy as np

from fastprop.graph.ops_elementwise import (
    abs as absolute,
)
from fastprop.graph.ops_elementwise import (
    as_operands,
    equal,
    less_equal,
    log,
    maximum,
    mul,
    neg,
    not_equal,
    pow,
    sub,
    where,
)
from fastprop.graph.ops_pairs import logaddexp
from fastprop.graph.ops_shape import as_floating
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def log2(x: TensorLike) -> Tensor:
    """Logarithm of `x` to base 2, within 2 units in the last place; of integers float32."""
    return _log_to(x, math.log2(math.e))


def log10(x: TensorLike) -> Tensor:
    """Logarithm of `x` to base 10, within 2 units in the last place; of integers float32."""
    return _log_to(x, math.log10(math.e))


@composed
def _log_to(x: TensorLike, scale: float) -> Tensor:
    return mul(log(x), scale)


def exp2(x: TensorLike) -> Tensor:
    """2 to the power of `x`; of integers float32."""
    return pow(2.0, as_floating(x))


def log_sigmoid(x: TensorLike) -> Tensor:
    r"""Logarithm of the logistic function, :math:`-\log(1 + e^{-x})`, without overflow."""
    return neg(logaddexp(0.0, neg(as_floating(x))))


def masked_fill(x: TensorLike, mask: TensorLike, value: TensorLike) -> Tensor:
    """`x` with `value` where the mask is not zero: ``where(mask, value, x)``.

    Args:
        x: Any dtype.
        mask: Tensor or array of any dtype; the shapes broadcast.
        value: A number, or a Tensor of the dtype of `x`.

    Raises:
        ValueError: The shapes do not broadcast.
    """
    return where(mask, value, x)


def nan_to_num(
    x: TensorLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """`x` with numbers in place of NaN and infinities, which get no derivative.

    Args:
        x: Any dtype; integers stay as they are.
        nan: In place of NaN.
        posinf: In place of infinity; by default the largest number of the dtype.
        neginf: In place of minus infinity; by default the smallest one.
    """
    return _finite(x, nan, posinf, neginf)


@composed
def _finite(x: TensorLike, nan: float, posinf: float | None, neginf: float | None) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind == "i":
        return x
    largest = float(np.finfo(x.dtype).max)
    y = where(not_equal(x, x), nan, x)
    y = where(equal(x, math.inf), largest if posinf is None else posinf, y)
    return where(equal(x, -math.inf), -largest if neginf is None else neginf, y)


def isclose(
    x: TensorLike, y: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    r"""Whether :math:`|x - y| \le atol + rtol\,|y|`, as ones and zeros; equal infinities are close.

    Args:
        x: Tensor, array or number of any dtype.
        y: The same; the shapes broadcast as in NumPy.
        rtol: Tolerance relative to `y`.
        atol: Absolute tolerance.
        equal_nan: Whether NaN is close to NaN.

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast.
    """
    return _isclose(*as_operands(x, y), rtol, atol, equal_nan)


@composed
def _isclose(x: Tensor, y: Tensor, rtol: float, atol: float, equal_nan: bool) -> Tensor:
    x, y = as_floating(x), as_floating(y)
    finite = where(equal(absolute(y), math.inf), 0, y)
    close = maximum(
        equal(x, y), less_equal(absolute(sub(x, finite)), atol + rtol * absolute(finite))
    )
    close = where(equal(absolute(y), math.inf), equal(x, y), close)
    return maximum(close, not_equal(x, x) * not_equal(y, y)) if equal_nan else close


def allclose(
    x: TensorLike, y: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close to each other, as a Python bool; see :func:`isclose`."""
    return bool(isclose(x, y, rtol, atol, equal_nan).all())
