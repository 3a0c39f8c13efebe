"""Elementwise ops: one line an op, with its derivative rule beside it.

Operands broadcast as in NumPy; a rule then sums over what was repeated (:func:`sum_to`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastprop.graph import infer
from fastprop.graph.op import OPS, Op, Vjp, apply, register
from fastprop.graph.ops_reduction import sum_to
from fastprop.graph.ops_shape import cast
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor, constant

_UNARY_DOC = """{summary}, element by element.

    Args:
        x: Tensor, array or number; {dtypes}.

    Returns:
        Tensor of the shape and dtype of `x`{note}.
    """
_BINARY_DOC = """{summary}, element by element.

    Args:
        x: Tensor, array or number; {dtypes}.
        y: The same, of the same dtype; the shapes broadcast as in NumPy.

    Returns:
        Tensor of the broadcast shape.{note}

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast.
    """


def unary(name: str, summary: str, vjp: Vjp | None) -> Callable[[TensorLike], Tensor]:
    """Register an op of one operand; gives the function that users call."""
    integers = name in _OF_INTEGERS
    shapes = infer.arithmetic if integers else infer.elementwise
    op = register(name, shapes, vjp, rowwise=True, inplace=True)

    def function(x: TensorLike) -> Tensor:
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        if x.dtype.kind == "i" and not integers:
            x = cast(x, _F32)
        return apply(op, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _UNARY_DOC.format(
        summary=summary,
        dtypes="float32, float64 or int64",
        note="" if integers else " (of integers, float32)",
    )
    return function


_F32 = np.dtype(np.float32)
_FLOATS = (_F32, np.dtype(np.float64))
_OF_INTEGERS = {"neg", "abs", "sign", "square", "copy"}
"""Ops of one operand that integers have, too."""


def binary(
    name: str, summary: str, *vjps: Vjp | None, note: str = "", integers: bool = True
) -> Callable[[TensorLike, TensorLike], Tensor]:
    """Register an op of two operands; its rules need not care for broadcasting.

    Without any rule it is a comparison. Where it has fractions as values of integers, these count
    as float32 (`integers` is False).
    """
    shapes = infer.arithmetic if integers else infer.elementwise
    op = register(name, shapes, *_summed(vjps), rowwise=True, inplace=True)

    def function(x: TensorLike, y: TensorLike) -> Tensor:
        # The usual pairs without a detour, which would take as long as the op.
        if isinstance(x, Tensor):
            dtype = x.dtype
            if isinstance(y, Tensor):
                if dtype is y.dtype and dtype in _FLOATS:
                    return apply(op, x, y)
            elif (type(y) is float or type(y) is int) and dtype in _FLOATS:
                return apply(op, x, constant(y, dtype))
        elif isinstance(y, Tensor) and (type(x) is float or type(x) is int) and y.dtype in _FLOATS:
            return apply(op, constant(x, y.dtype), y)
        operands = as_operands(x, y)
        if not integers and operands[0].dtype.kind == "i":
            operands = [cast(t, _F32) for t in operands]
        z = apply(op, *operands)
        # A comparison is a mask, and masks are floats, so that integers can be indices.
        return z if vjps or z.dtype.kind == "f" else cast(z, _F32)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _BINARY_DOC.format(
        summary=summary,
        note=f" {note}" if note else "",
        dtypes="float32, float64 or int64",
    )
    return function


def _summed(vjps: Sequence[Vjp | None]) -> list[Vjp | None]:
    """The rules, each followed by the sum over the axes along which its operand was broadcast."""

    def wrap(position: int, vjp: Vjp) -> Vjp:
        def rule(dy: Tensor, z: Tensor, *inputs: Tensor) -> Tensor | None:
            d = vjp(dy, z, *inputs)
            x = inputs[position]
            return d if d is None or d.spec is x.spec else sum_to(d, x)

        return rule

    return [None if vjp is None else wrap(i, vjp) for i, vjp in enumerate(vjps)]


def as_operands(*values: TensorLike) -> list[Tensor]:
    """Tensors of the values, by the one rule for dtypes that differ.

    Python numbers, NumPy scalars, lists and boolean arrays take the dtype of what they meet; int64
    gives way to a floating dtype (and to float32 beside a number that is not an integer); float32
    and float64 do not mix, which the op's own inference refuses.
    """
    for v in values:
        if not isinstance(v, Tensor) or v.dtype is not _F32:
            break
    else:
        return list(values)  # type: ignore[arg-type]
    if len(values) == 2:  # a number beside a Tensor, without the looks below
        x, y = values
        if isinstance(x, Tensor) and (type(y) is float or type(y) is int) and x.dtype in _FLOATS:
            return [x, constant(y, x.dtype)]
        if isinstance(y, Tensor) and (type(x) is float or type(x) is int) and y.dtype in _FLOATS:
            return [constant(x, y.dtype), y]
    like: Tensor | None = None
    fractions = False
    for v in values:
        if isinstance(v, Tensor) or (isinstance(v, np.ndarray) and v.dtype.kind != "b"):
            if like is None or (like.dtype.kind != "f" and v.dtype.kind == "f"):
                like = as_tensor(v)
        elif not isinstance(v, int | np.integer | np.bool_ | np.ndarray):
            fractions = True
    if like is None:
        return [as_tensor(v) for v in values]
    if like.dtype.kind != "f" and fractions:
        like = _FLOAT32
    tensors = [as_tensor(v, like=like) for v in values]
    if like.dtype.kind != "f":
        return tensors
    return [t if t.dtype.kind == "f" else cast(t, like.dtype) for t in tensors]


_FLOAT32 = Tensor(np.zeros((), np.float32))


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """`x` where it lies between `min` and `max`, else the bound; ``None`` is no bound.

    At a bound, as between them, the derivative by `x` is 1 and that by the bound 0. NaN stays NaN;
    where `min` is above `max`, the result is `max`.

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast, or a number that is a bound is NaN.
    """
    return _clip(x, min, max)


@composed
def _clip(x: TensorLike, min: TensorLike | None, max: TensorLike | None) -> Tensor:
    y = as_tensor(x)
    if min is not None:
        y = _bounded(y, min, less, greater_equal, maximum)
    return y if max is None else _bounded(y, max, greater, less_equal, minimum)


def _bounded(y: Tensor, bound: TensorLike, beyond: Any, within: Any, extreme: Any) -> Tensor:
    """`y` within a bound: one derivative goes to either, also where they are equal."""
    if not isinstance(bound, int | float | np.generic):  # NaN stays NaN, as it does in `y`
        return where(within(y, bound), y, extreme(y, bound))
    if bound != bound:
        raise ValueError("clip: a bound is NaN")
    return where(beyond(y, bound), bound, y)


def _pow_base(dy: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    """y x^(y-1); exactly zero where y is, also at x = 0, where the power is infinite."""
    if y.size == 1 and not y.symbolic and not y.requires_grad:
        exponent = float(y.data.item())
        return None if exponent == 0 else dy * (exponent * pow(x, exponent - 1))
    return dy * apply(_POW_BASE, x, y, z)


def _base_slope(x: Tensor, y: Tensor) -> Tensor:
    return apply(_POW_BASE, x, y, _pow(x, y))


def _exponent_slope(x: Tensor, y: Tensor) -> Tensor:
    return apply(_POW_EXPONENT, x, y, _pow(x, y))


def _mixed_slope(x: Tensor, y: Tensor) -> Tensor:
    """Of x^y by both, x^(y-1) (1 + y log(x))."""
    return _pow(x, y - 1) + y * _exponent_slope(x, y - 1)


def _zero_powers(x: Tensor, y: Tensor) -> Tensor:
    """1 where the base is 0, and the power is 0 or 1."""
    return equal(x, 0) * greater_equal(y, 0)


Unary = Callable[[TensorLike], Tensor]

_SQRT_PI = math.sqrt(math.pi)
_BOOLEAN = "1 where it holds, else 0, in the operands' dtype (of integers, float32)."

# name               the op       what it is                     dx = vjp(dy, y, x)
neg = unary("neg", "-x", lambda dy, y, x: -dy)
exp = unary("exp", "e to the power of x", lambda dy, y, x: dy * y)
log = unary("log", "Natural logarithm of x", lambda dy, y, x: dy / x)
sqrt = unary("sqrt", "Square root of x", lambda dy, y, x: dy * (0.5 / y))
rsqrt = unary("rsqrt", "1 / sqrt(x)", lambda dy, y, x: dy * (-0.5 * y / x))
square = unary("square", "x * x", lambda dy, y, x: dy * (2 * x))
reciprocal = unary("reciprocal", "1 / x", lambda dy, y, x: -dy * square(y))
abs = unary("abs", "Absolute value of x (derivative 0 at 0)", lambda dy, y, x: dy * sign(x))
sign: Unary = unary("sign", "-1, 0 or 1, as x is negative, zero or positive", None)
sin: Unary = unary("sin", "Sine of x", lambda dy, y, x: dy * cos(x))
cos: Unary = unary("cos", "Cosine of x", lambda dy, y, x: -dy * sin(x))
erf = unary("erf", "Error function of x", lambda dy, y, x: dy * (2 / _SQRT_PI * exp(-square(x))))
log2 = unary("log2", "Logarithm of x to base 2", lambda dy, y, x: dy * (1 / math.log(2) / x))
log1p = unary("log1p", "log(1 + x), exact for small x", lambda dy, y, x: dy / (1 + x))
expm1 = unary(
    "expm1", "e to the power of x, minus 1, exact for small x", lambda dy, y, x: dy * exp(x)
)
tan: Unary = unary("tan", "Tangent of x", lambda dy, y, x: dy * (1 + square(y)))
asin = unary("asin", "Inverse sine of x", lambda dy, y, x: dy * rsqrt((1 - x) * (1 + x)))
acos = unary("acos", "Inverse cosine of x", lambda dy, y, x: -dy * rsqrt((1 - x) * (1 + x)))
atan = unary("atan", "Inverse tangent of x", lambda dy, y, x: dy / (1 + square(x)))
sinh: Unary = unary("sinh", "Hyperbolic sine of x", lambda dy, y, x: dy * cosh(x))
cosh: Unary = unary("cosh", "Hyperbolic cosine of x", lambda dy, y, x: dy * sinh(x))
asinh = unary("asinh", "Inverse hyperbolic sine", lambda dy, y, x: dy * rsqrt(1 + square(x)))
acosh = unary("acosh", "Inverse hyperbolic cosine", lambda dy, y, x: dy * rsqrt((x - 1) * (x + 1)))
atanh = unary("atanh", "Inverse hyperbolic tangent", lambda dy, y, x: dy / ((1 - x) * (1 + x)))
copy = unary("copy", "A copy of x", lambda dy, y, x: dy)

#                                                dx = vjp(dy, z, x, y)      dy = vjp(dy, z, x, y)
add = binary("add", "x + y", lambda dy, z, x, y: dy, lambda dy, z, x, y: dy)
sub = binary("sub", "x - y", lambda dy, z, x, y: dy, lambda dy, z, x, y: -dy)
mul = binary("mul", "x * y", lambda dy, z, x, y: dy * y, lambda dy, z, x, y: dy * x)
div = binary(
    "div",
    "x / y",
    lambda dy, z, x, y: dy / y,
    lambda dy, z, x, y: -dy * (z / y),
    integers=False,
)
_pow = binary(
    "pow",
    "x to the power of y",
    _pow_base,
    lambda dy, z, x, y: dy * apply(_POW_EXPONENT, x, y, z),
)
OPS["pow"].derivations = None  # the rule looks at an exponent that is one number
maximum = binary(
    "maximum",
    "The larger of x and y",
    lambda dy, z, x, y: dy * _share(x, y),
    lambda dy, z, x, y: dy * _share(y, x),
    note="Where both are equal, each gets half of the derivative.",
)
minimum = binary(
    "minimum",
    "The smaller of x and y",
    lambda dy, z, x, y: dy * _share(y, x),
    lambda dy, z, x, y: dy * _share(x, y),
    note="Where both are equal, each gets half of the derivative.",
)
greater = binary("greater", "x > y", note=_BOOLEAN)
greater_equal = binary("greater_equal", "x >= y", note=_BOOLEAN)
less = binary("less", "x < y", note=_BOOLEAN)
less_equal = binary("less_equal", "x <= y", note=_BOOLEAN)
equal = binary("equal", "x == y", note=_BOOLEAN)
not_equal = binary("not_equal", "x != y", note=_BOOLEAN)

_WHERE = register(
    "where",
    infer.arithmetic,
    None,
    lambda dy, z, c, x, y: sum_to(where(c, dy, 0), x),
    lambda dy, z, c, x, y: sum_to(where(c, 0, dy), y),
    rowwise=True,
    inplace=True,
)


# The slopes of z = x^y, which is an operand so that there is one power only: the rules by x and y
# are whole derivatives, through z too.
_POW_BASE: Op = register(
    "pow_base_slope",
    infer.elementwise,
    lambda ds, s, x, y, z: sum_to(ds * where(not_equal(y, 0), y * _base_slope(x, y - 1), 0), x),
    lambda ds, s, x, y, z: sum_to(ds * _mixed_slope(x, y), y),
    None,
    rowwise=True,
    inplace=True,
)
_POW_EXPONENT: Op = register(
    "pow_exponent_slope",
    infer.elementwise,
    lambda ds, s, x, y, z: sum_to(ds * where(_zero_powers(x, y), 0, _mixed_slope(x, y)), x),
    lambda ds, s, x, y, z: sum_to(ds * (s * log(where(_zero_powers(x, y), 1, x))), y),
    None,
    rowwise=True,
    inplace=True,
)


def _share(winner: Tensor, loser: Tensor) -> Tensor:
    """1 where the winner is larger, 1/2 where both are equal, 0 where it is smaller."""
    return 0.5 * (greater(winner, loser) + greater_equal(winner, loser))


def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """`x` to the power of `y`, element by element; integers to integers are integers.

    Args:
        x: Tensor, array or number; float32, float64 or int64 (where powers wrap around).
        y: The same, of the same dtype; the shapes broadcast as in NumPy.

    Returns:
        Tensor of the broadcast shape.

    Raises:
        TypeError: One is float32, the other float64.
        ValueError: The shapes do not broadcast, or integers have a negative power.
    """
    if isinstance(y, int | float) and y == 2 and not (type(y) is float and is_integer(x)):
        return square(x)
    if isinstance(x, Tensor) and x.dtype in _FLOATS:
        if type(y) is float or type(y) is int:
            return _power(x, y)
        if isinstance(y, Tensor) and (y.requires_grad or y.size != 1):
            return _power(x, y)
    if is_integer(x) and is_integer(y) and np.any(np.less(known_values(y, 0), 0)):
        raise ValueError("pow: integers have no negative powers; convert x with astype")
    return _pow(x, y)


@composed
def _power(x: Tensor, y: TensorLike) -> Tensor:
    """With an exponent whose value the rule does not ask for, or a number."""
    return _pow(x, y)


def is_integer(x: TensorLike) -> bool:
    """Whether it is an integer, or holds integers."""
    return isinstance(x, int | np.integer) or (
        isinstance(x, Tensor | np.ndarray) and x.dtype.kind in "iu"
    )


def known_values(x: TensorLike, unknown: int) -> Any:
    """Its numbers, to be looked at; those of a symbolic Tensor are unknown."""
    return unknown if isinstance(x, Tensor) and x.symbolic else np.asarray(x)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """`x` where the condition is not zero, else `y`; the three broadcast.

    Args:
        condition: Tensor or array of any dtype.
        x: Tensor, array or number; float32, float64 or int64.
        y: The same, of the same dtype.

    Raises:
        TypeError: One of `x` and `y` is float32, the other float64.
        ValueError: The shapes do not broadcast.
    """
    return _where(condition, x, y)


@composed
def _where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    if isinstance(condition, Tensor) and not isinstance(x, Tensor) and not isinstance(y, Tensor):
        like = condition if condition.dtype.kind == "f" else None
        x, y = as_tensor(x, like=like), as_tensor(y, like=like)
    x, y = as_operands(x, y)
    chosen = condition if isinstance(condition, Tensor) else as_tensor(condition, like=x)
    if chosen.dtype != x.dtype:
        if x.dtype.kind == "i":  # 0.5 is not zero
            chosen = not_equal(chosen, 0)
        chosen = cast(chosen, x.dtype)
    return apply(_WHERE, chosen, x, y)
