"""Statistics made of the primitives: moments, norms, products, places of extremes."""

from __future__ import annotations

import math
from functools import lru_cache

from fastprop.graph import infer
from fastprop.graph.op import apply
from fastprop.graph.ops_elementwise import (
    abs as absolute,
)
from fastprop.graph.ops_elementwise import (
    equal,
    exp,
    log,
    neg,
    not_equal,
    pow,
    sqrt,
    square,
    sub,
    where,
)
from fastprop.graph.ops_index import part
from fastprop.graph.ops_reduction import _ARGMAX, max, mean, sum, sum_squares
from fastprop.graph.ops_shape import as_floating, reshape, stop_gradient, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Axis, Tensor, TensorLike, as_tensor


def var(x: TensorLike, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    r"""Variance along axes, :math:`\frac{1}{n - d} \sum_i (x_i - \bar x)^2`.

    Args:
        x: Any dtype; the result for integers is float32.
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the axes with extent 1.
        ddof: What is taken off the number of elements: 0 as in NumPy; PyTorch's default is 1.

    Raises:
        ValueError: There are no more than `ddof` elements, or an axis is out of range; or the batch
            of a Program, whose size may change, with another `ddof` than 0.
    """
    return _var(x, axis, keepdims, ddof)


@composed
def _var(x: TensorLike, axis: Axis, keepdims: bool, ddof: int) -> Tensor:
    x = as_floating(x)
    axes = infer.normalize_axes("var", axis, len(x.shape))
    n = _extent(x.shape, axes)
    if n <= ddof:
        raise ValueError(f"var: {n} elements along axes {axes} of {x.shape} with ddof={ddof}")
    if ddof != 0 and x.batched and 0 in axes:
        raise ValueError("var: along the batch axis of a Program ddof must be 0")
    y = mean(square(sub(x, mean(x, axes, keepdims=True))), axes, keepdims)
    return y if ddof == 0 else y * (n / (n - ddof))


@lru_cache(maxsize=4096)
def _extent(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axes)


def std(x: TensorLike, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Standard deviation along axes, the root of :func:`var`, whose arguments it has.

    Where it is zero, its derivative is taken to be zero.
    """
    return _std(x, axis, keepdims, ddof)


@composed
def _std(x: TensorLike, axis: Axis, keepdims: bool, ddof: int) -> Tensor:
    return _root(var(x, axis, keepdims, ddof), 2)


def norm(x: TensorLike, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Norm of the elements along axes, :math:`\left(\sum_i |x_i|^p\right)^{1/p}`.

    Args:
        x: Any dtype (integers as float32); all the axes count as one vector.
        ord: The p: 2, 1, another positive number, or ``inf`` for the largest absolute value.
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the axes with extent 1.

    Returns:
        The norms. Where one is zero, its derivative is taken to be zero.

    Raises:
        ValueError: `ord` is not positive, or an axis is out of range.
    """
    return _norm(x, ord, axis, keepdims)


@composed
def _norm(x: TensorLike, ord: float, axis: Axis, keepdims: bool) -> Tensor:
    x = as_floating(x)
    try:
        positive = bool(ord > 0)
    except (TypeError, ValueError):  # matrix norms have names
        raise TypeError(f"norm: ord must be a number, got {ord!r}") from None
    if not positive:
        raise ValueError(f"norm: ord must be positive, got {ord}")
    if ord == math.inf:
        return max(absolute(x), axis, keepdims)
    if ord == 1:
        return sum(absolute(x), axis, keepdims)
    if ord == 2:
        return _root(sum_squares(x, axis, keepdims), 2)
    # The power of 0 has no finite derivative for ord < 2.
    a = absolute(x)
    nonzero = not_equal(a, 0)
    return _root(sum(where(nonzero, pow(where(nonzero, a, 1), ord), 0), axis, keepdims), ord)


def _root(total: Tensor, ord: float) -> Tensor:
    zero = equal(total, 0)
    safe = where(zero, 1, total)
    return where(zero, 0, sqrt(safe) if ord == 2 else pow(safe, 1 / ord))


def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Logarithm of a sum of exponentials, :math:`\log \sum_i e^{x_i}`, without overflow.

    Args:
        x: Any dtype; integers as float32.
        axis: One axis, several, or ``None`` for all; they must not be empty.
        keepdims: Keep the axes with extent 1.

    Raises:
        ValueError: An axis is empty or out of range.
    """
    return _logsumexp(x, axis, keepdims)


@composed
def _logsumexp(x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    x = as_floating(x)
    axes = infer.normalize_axes("logsumexp", axis, x.ndim)
    if 0 in [x.shape[a] for a in axes]:
        raise ValueError(f"logsumexp: the axes {axes} of shape {x.shape} are empty")
    top = stop_gradient(max(x, axes, keepdims=True))
    # An infinite one would give inf - inf; left out, it comes out of exp or log as it should.
    top = where(equal(absolute(top), math.inf), 0, top)
    y = log(sum(exp(x - top), axes, keepdims=True)) + top
    return y if keepdims else reshape(y, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def prod(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Product along axes, :math:`\prod_i x_i`, multiplied in pairs, pairs of pairs, and so on.

    The derivatives are right where factors are zero, too, since nothing is divided.

    Args:
        x: Any dtype.
        axis: One axis, several, or ``None`` for all; a product of nothing is 1.
        keepdims: Keep the axes with extent 1.

    Raises:
        ValueError: An axis is out of range, repeated, or the batch axis of a Program.
    """
    return _prod(x, axis, keepdims)


@composed
def _prod(x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = infer.normalize_axes("prod", axis, x.ndim)
    if x.batched and 0 in axes:
        raise ValueError(f"prod: the batch axis of {x.shape} cannot be multiplied along")
    kept = [i for i in range(x.ndim) if i not in axes]
    n = math.prod(x.shape[a] for a in axes)
    lead = tuple(x.shape[i] for i in kept)
    shape = tuple(1 if i in axes else m for i, m in enumerate(x.shape)) if keepdims else lead
    if n == 0:
        return sum(x, axes, keepdims) + 1  # which has a history, if x has
    y = reshape(transpose(x, [*kept, *axes]), (*lead, n))
    odd: list[Tensor] = []
    while n > 1:
        half = n // 2
        if n % 2:
            odd.append(_columns(y, n - 1, 1))
        y = _columns(y, 0, half) * _columns(y, half, half)
        n = half
    for factor in odd:
        y = y * factor
    return reshape(y, shape)


def _columns(x: Tensor, start: int, count: int) -> Tensor:
    lead = x.ndim - 1
    return part(x, [0] * lead + [start], [1] * x.ndim, (*x.shape[:-1], count))


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the largest element along an axis (the first of equal ones), as int64.

    Args:
        x: Any dtype.
        axis: Which axis; by default the index is that in `x` flattened.
        keepdims: Keep the axis, or all of them, with extent 1.

    Raises:
        ValueError: The axis is empty, out of range, or the batch axis of a Program.
    """
    return _argmax(x, axis, keepdims)


@composed
def _argmax(x: TensorLike, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    if axis is None:
        y = apply(_ARGMAX, reshape(x, (x.size,)))
        return reshape(y, (1,) * x.ndim) if keepdims else y
    (along,) = infer.normalize_axes("argmax", axis, x.ndim)
    kept = [i for i in range(x.ndim) if i != along]
    y = apply(_ARGMAX, x if along == x.ndim - 1 else transpose(x, [*kept, along]))
    if not keepdims:
        return y
    return reshape(y, tuple(1 if i == along else n for i, n in enumerate(x.shape)))


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the smallest element along an axis; otherwise as :func:`argmax`."""
    x = as_tensor(x)
    # The smallest integer has no negative one.
    return argmax(sub(-1, x) if x.dtype.kind == "i" else neg(x), axis, keepdims)
