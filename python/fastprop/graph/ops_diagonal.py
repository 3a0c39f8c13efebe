"""Triangles and diagonals of matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastprop.graph.op import apply
from fastprop.graph.ops_elementwise import where
from fastprop.graph.ops_index import _PLACE, _SLICE, part_attributes
from fastprop.graph.ops_reduction import sum
from fastprop.graph.ops_shape import _RESHAPE
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def tril(x: TensorLike, diagonal: int = 0) -> Tensor:
    """The lower triangles of matrices ``[..., m, n]``: zero above the given diagonal."""
    return _triangle("tril", x, diagonal, np.tril)


def triu(x: TensorLike, diagonal: int = 0) -> Tensor:
    """The upper triangles of matrices ``[..., m, n]``: zero below the given diagonal."""
    return _triangle("triu", x, diagonal, np.triu)


def _triangle(name: str, x: TensorLike, diagonal: int, keep: Any) -> Tensor:
    return _kept_triangle(name, x, diagonal, keep)


@composed
def _kept_triangle(name: str, x: TensorLike, diagonal: int, keep: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: expects matrices [..., m, n], got shape {x.shape}")
    return where(_triangle_mask(keep, *x.shape[-2:], x.dtype, diagonal), x, 0)


@lru_cache(maxsize=64)
def _triangle_mask(keep: Any, m: int, n: int, dtype: np.dtype[Any], diagonal: int) -> Tensor:
    return Tensor(keep(np.ones((m, n), dtype), diagonal))


def diagonal(x: TensorLike, offset: int = 0) -> Tensor:
    """The diagonals of matrices ``[..., m, n]``, the elements ``[..., i, i + offset]``.

    NumPy and PyTorch take the first two axes by default, this takes the last two.

    Raises:
        ValueError: There are fewer than two axes.
    """
    return _diagonal("diagonal", x, offset)


@composed
def _diagonal(name: str, x: TensorLike, offset: int) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: expects matrices [..., m, n], got shape {x.shape}")
    lead, m, n = x.shape[:-2], x.shape[-2], x.shape[-1]
    rows = apply(_RESHAPE, x, shape=(*lead, m * n))
    attrs = _diagonal_attributes(lead, m, n, int(offset))
    return rows if attrs["shape"] == rows.shape else apply(_SLICE, rows, **attrs)


@lru_cache(maxsize=4096)
def _diagonal_attributes(lead: tuple[int, ...], m: int, n: int, offset: int) -> dict[str, Any]:
    count = max(min(m + offset, n) if offset < 0 else min(m, n - offset), 0)
    start = 0 if count == 0 else (-offset * n if offset < 0 else offset)
    return part_attributes(
        [0] * len(lead) + [start], [1] * len(lead) + [n + 1 if count > 1 else 1], (*lead, count)
    )


def diag(x: TensorLike, offset: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix that has a vector as its diagonal, else zeros.

    Args:
        x: ``[m, n]`` or ``[n]``, of any dtype.
        offset: Which diagonal: above the main one if positive, below if negative.

    Raises:
        ValueError: `x` has neither one axis nor two; :func:`diagonal` takes stacks of matrices.
    """
    x = as_tensor(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"diag: expects a matrix or a vector, got shape {x.shape}")
    return _diagonal("diag", x, offset) if x.ndim == 2 else _matrix_of(x, int(offset))


@composed
def _matrix_of(x: Tensor, offset: int) -> Tensor:
    size = x.size + abs(offset)
    start = 0 if x.size == 0 else (-offset * size if offset < 0 else offset)
    attrs = part_attributes([start], [size + 1], (size * size,))
    return apply(_RESHAPE, apply(_PLACE, x, **attrs, fill=0.0), shape=(size, size))


def trace(x: TensorLike, offset: int = 0) -> Tensor:
    """The sums of the diagonals of matrices ``[..., m, n]``, ``[...]``; see :func:`diagonal`.

    Raises:
        ValueError: There are fewer than two axes.
    """
    return _trace(x, offset)


@composed
def _trace(x: TensorLike, offset: int) -> Tensor:
    return sum(_diagonal("trace", x, offset), -1)
