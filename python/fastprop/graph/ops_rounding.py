"""Rounding, and what a division rounded to an integer leaves.

Rounded numbers are steps: their derivative is zero where there is one, and taken to be zero at the
jumps as well. What lets a derivative pass all the same, a straight-through estimator, is
``x + stop_gradient(round(x) - x)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastprop.graph.ops_elementwise import binary, div, is_integer, known_values, mul, unary
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor

Binary = Callable[[TensorLike, TensorLike], Tensor]

_ROUNDED_DOC = """{summary}, element by element.

    Args:
        x: Tensor, array or number; float32, float64 or int64 (which stays as it is).

    Returns:
        Tensor of the shape and dtype of `x`, whose derivative is zero.
    """


def _rounding(name: str, summary: str) -> Callable[[TensorLike], Tensor]:
    rounded = unary(name, summary, None)

    def function(x: TensorLike) -> Tensor:
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        return x if x.dtype.kind == "i" else rounded(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _ROUNDED_DOC.format(summary=summary)
    return function


floor = _rounding("floor", "The largest integer that is not above x")
ceil = _rounding("ceil", "The smallest integer that is not below x")
trunc = _rounding("trunc", "The integer part of x, rounded toward zero")
_round = _rounding("round", "The nearest integer")


def round(x: TensorLike, decimals: int = 0) -> Tensor:
    """`x` rounded to so many decimal places, halves to the even digit, as in NumPy.

    Args:
        x: Tensor, array or number; float32, float64 or int64.
        decimals: How many; of -1 tens are left. Other than 0, `x` is multiplied before and divided
            after, so a half may not be one any more.

    Returns:
        Tensor of the shape and dtype of `x`, whose derivative is zero.

    Raises:
        TypeError: `decimals` is negative and `x` are integers.
    """
    return _round(x) if decimals == 0 else _rounded_to(x, int(decimals))


@composed
def _rounded_to(x: TensorLike, decimals: int) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind == "i":
        if decimals < 0:
            raise TypeError("round: of integers decimals must not be negative; convert with astype")
        return x
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return div(_round(mul(x, scale)), scale)
    return mul(_round(div(x, scale)), scale)


# name                                                     dx = vjp(dy, z, x, y)
_remainder = binary(
    "remainder",
    "x - y floor(x / y)",
    lambda dy, z, x, y: dy,
    lambda dy, z, x, y: -dy * floor_divide(x, y),
)
_fmod = binary(
    "fmod",
    "x - y trunc(x / y)",
    lambda dy, z, x, y: dy,
    lambda dy, z, x, y: dy * _round((z - x) / y),
)
_floor_divide = binary("floor_divide", "floor(x / y)", None, None)

_DIVISION_DOC = """{summary}, element by element; exact, whatever the quotient.

    Args:
        x: Tensor, array or number; float32, float64 or int64.
        y: The same, of the same dtype; the shapes broadcast as in NumPy.

    Returns:
        Tensor of the broadcast shape. {note}

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast.
        ZeroDivisionError: Integers by zero (inside a Program, where it is not known, that is 0).
    """


def _division(name: str, summary: str, note: str, divide: Binary) -> Binary:
    def function(x: TensorLike, y: TensorLike) -> Tensor:
        if is_integer(x) and is_integer(y) and np.any(np.equal(known_values(y, 1), 0)):
            raise ZeroDivisionError(f"{name}: integers cannot be divided by zero")
        return divide(x, y)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DIVISION_DOC.format(summary=summary, note=note)
    return function


remainder: Binary = _division(
    "remainder",
    "What dividing `x` by `y` and rounding down leaves, as Python's ``%``",
    "It has the sign of `y`; NaN where `y` is zero. The derivative by `x` is 1, by `y` it is\n"
    "        ``-(x // y)``, at the jumps, too.",
    _remainder,
)
fmod = _division(
    "fmod",
    "What dividing `x` by `y` and rounding toward zero leaves, as C's ``fmod``",
    "It has the sign of `x`; NaN where `y` is zero. The derivative by `x` is 1, by `y` it is\n"
    "        minus the truncated quotient, at the jumps, too.",
    _fmod,
)
floor_divide: Binary = _division(
    "floor_divide",
    "The quotient rounded down, as Python's ``//``",
    "Its derivative is zero. It is the quotient that is rounded, not what division\n"
    "        makes of it: ``1 // 0.1`` is 9, as the number 0.1 is more than a tenth.",
    _floor_divide,
)
