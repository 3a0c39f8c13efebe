"""Sums, means and extremes along axes, and rows picked by index, on NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.infer import normalize_axes
from fastprop.graph.ops_reduction import reduce_mask
from fastprop.graph.tensor import Axis
from fastprop.kernels._call import Array, call, index_operand, operands


def _reduce(op: str, x: ArrayLike, axis: Axis, keepdims: bool, out: Array | None) -> Array:
    (array,) = operands(op, x=x)
    attrs = {"axes": reduce_mask(normalize_axes(op, axis, array.ndim)), "keepdims": bool(keepdims)}
    return call(op, op, [array], out, attrs=attrs)


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False, out: Array | None = None) -> Array:
    r"""Sum over axes, :math:`y = \sum_i x_i`, in an order that does not depend on threads.

    Args:
        x: float32 or float64.
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the summed axes with extent 1.
        out: Array to write to.

    Returns:
        An array; of no axes for a sum over everything.

    Raises:
        TypeError: `x` is not of a floating dtype.
        ValueError: An axis is out of range, or `out` does not fit.
    """
    return _reduce("sum", x, axis, keepdims, out)


def mean(
    x: ArrayLike, axis: Axis = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    r"""Mean over axes, :math:`\frac{1}{n} \sum_i x_i`; they must not be empty. As :func:`sum`."""
    return _reduce("mean", x, axis, keepdims, out)


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False, out: Array | None = None) -> Array:
    """Largest element along axes, which must not be empty. As :func:`sum`."""
    return _reduce("max", x, axis, keepdims, out)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False, out: Array | None = None) -> Array:
    """Smallest element along axes, which must not be empty. As :func:`sum`."""
    return _reduce("min", x, axis, keepdims, out)


def argmax(x: ArrayLike, out: Array | None = None) -> Array:
    """Index of the largest element along the last axis (the first of equal ones), as int64."""
    return call("argmax", "argmax", operands("argmax", x=x), out)


def gather_rows(source: ArrayLike, index: ArrayLike, out: Array | None = None) -> Array:
    """Rows ``source[index]``.

    Args:
        source: ``[N, ...]``; float32, float64, int32, int64, uint8 or bool.
        index: Integers ``[rows]``, each from 0 to N - 1.
        out: ``[rows, ...]`` to write to.

    Raises:
        TypeError: `index` does not hold integers.
        ValueError: An index is out of range, or the shapes do not fit.
    """
    name = "gather_rows"
    array = np.require(np.asarray(source), requirements="C")
    rows = index_operand(name, "index", index)
    if array.ndim and rows.size and not (rows.min() >= 0 and rows.max() < array.shape[0]):
        found = f"{rows.min()} to {rows.max()}"
        raise ValueError(f"{name}: index must be from 0 to {array.shape[0] - 1}, got {found}")
    return call(name, "take", [array, rows], out, attrs={"axis": 0})
