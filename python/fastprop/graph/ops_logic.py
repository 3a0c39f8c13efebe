"""Masks: Tensors of ones and zeros, as comparisons give them, combined and asked about.

A mask is of a floating dtype, so that it multiplies what it selects, an average of it is a share,
and integers are left to be indices. Every number but zero counts as true, NaN too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastprop.graph.ops_elementwise import (
    abs as absolute,
)
from fastprop.graph.ops_elementwise import (
    as_operands,
    equal,
    less,
    maximum,
    mul,
    not_equal,
)
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import cast
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Axis, Tensor, TensorLike, as_tensor

_DOC = """{summary}, element by element, as ones and zeros.

    Args:
        x: Tensor, array or number of any dtype.
        y: The same; the shapes broadcast as in NumPy.

    Returns:
        A mask of the first floating dtype of the two, else float32.

    Raises:
        ValueError: The shapes do not broadcast.
    """


def _logical(
    name: str, summary: str, combine: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[TensorLike, TensorLike], Tensor]:
    def logical(x: TensorLike, y: TensorLike) -> Tensor:
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            first, second = not_equal(x, 0), not_equal(y, 0)
        else:
            first, second = (not_equal(t, 0) for t in as_operands(x, y))
        if first.dtype != second.dtype:
            integer = isinstance(x, Tensor) and x.dtype.kind == "i"
            wanted = second.dtype if integer else first.dtype
            first, second = cast(first, wanted), cast(second, wanted)
        return combine(first, second)

    one_node = composed(logical)

    def function(x: TensorLike, y: TensorLike) -> Tensor:
        return one_node(x, y)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = _DOC.format(summary=summary)
    return function


logical_and = _logical("logical_and", "Whether x and y are both true", mul)
logical_or = _logical("logical_or", "Whether x or y, or both, are true", maximum)
logical_xor = _logical("logical_xor", "Whether one of x and y is true, but not both", not_equal)


def logical_not(x: TensorLike) -> Tensor:
    """1 where `x` is zero, else 0, in the dtype of `x` (of integers, float32)."""
    return equal(x, 0)


def any(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether an element along axes is true, as 1 or 0; of nothing 0. Axes as in :func:`sum`."""
    return _any(x, axis, keepdims)


@composed
def _any(x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    return not_equal(reduce_sum(not_equal(x, 0), axis, keepdims), 0)


def all(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements along axes are true, as 1 or 0; of nothing 1. Axes as in :func:`sum`."""
    return _all(x, axis, keepdims)


@composed
def _all(x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    return equal(reduce_sum(equal(x, 0), axis, keepdims), 0)


def isnan(x: TensorLike) -> Tensor:
    """1 where `x` is not a number, else 0."""
    x = as_tensor(x)
    return not_equal(x, x)


def isinf(x: TensorLike) -> Tensor:
    """1 where `x` is infinite, else 0."""
    return equal(absolute(x), math.inf)


def isfinite(x: TensorLike) -> Tensor:
    """1 where `x` is neither infinite nor not a number, else 0."""
    return less(absolute(x), math.inf)
