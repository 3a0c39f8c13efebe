"""Quantiles: what lies at a share of the way through the sorted elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastprop.graph import infer
from fastprop.graph.ops_arrange import stack
from fastprop.graph.ops_elementwise import not_equal, where
from fastprop.graph.ops_index import narrow
from fastprop.graph.ops_order import sort
from fastprop.graph.ops_shape import as_floating, reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Axis, Tensor, TensorLike, as_tensor


def quantile(
    x: TensorLike, q: float | Sequence[float], axis: Axis = None, keepdims: bool = False
) -> Tensor:
    r"""The element at the share `q` of the way through the sorted ones, between two their mixture.

    Of n elements it is number :math:`q (n - 1)`, linear between neighbours, as in NumPy. The
    derivative goes to the elements that it lies between. NaN if one is NaN.

    Args:
        x: Any dtype; integers as float32.
        q: From 0 to 1, or several, which make a first axis of the result.
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the axes with extent 1.

    Raises:
        ValueError: `q` is not in [0, 1], there is no element, or an axis is out of range, repeated
            or the batch axis of a Program.
    """
    several = np.asarray(q, dtype=np.float64)
    if several.ndim > 1 or not ((several >= 0) & (several <= 1)).all():
        raise ValueError(f"quantile: q must be numbers from 0 to 1, got {q!r}")
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    found = [_quantile("quantile", x, share, axes, keepdims) for share in several.ravel().tolist()]
    return stack(found) if several.ndim else found[0]


def median(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle one of the sorted elements along axes; of an even number, the mean of the two.

    PyTorch's median is the lower one of the two. Otherwise as :func:`quantile` with 1/2.
    """
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    return _quantile("median", x, 0.5, axes, keepdims)


@composed
def _quantile(name: str, x: TensorLike, q: float, axis: Axis, keepdims: bool) -> Tensor:
    x = as_floating(as_tensor(x))
    axes = infer.normalize_axes(name, axis, x.ndim)
    if x.batched and 0 in axes:
        raise ValueError(f"{name}: the batch axis of {x.shape} cannot be sorted along")
    kept = [i for i in range(x.ndim) if i not in axes]
    lead, n = tuple(x.shape[i] for i in kept), math.prod(x.shape[a] for a in axes)
    if n == 0:
        raise ValueError(f"{name}: there is no element along axes {axes} of {x.shape}")
    rows, _ = sort(reshape(transpose(x, [*kept, *axes]), (*lead, n)))
    place = q * (n - 1)
    low = min(int(place), n - 1)
    y, last = narrow(rows, len(lead), low, 1), narrow(rows, len(lead), n - 1, 1)
    if place > low:
        y = y + (place - low) * (narrow(rows, len(lead), low + 1, 1) - y)
    y = where(not_equal(last, last), last, y)  # NaN are sorted to the end
    return reshape(
        y, tuple(1 if i in axes else m for i, m in enumerate(x.shape)) if keepdims else lead
    )
