"""Arrangements made of the primitives: axes added and dropped, parts, joints, padding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastprop import _core
from fastprop.graph import infer
from fastprop.graph.op import apply
from fastprop.graph.ops_elementwise import equal
from fastprop.graph.ops_index import (
    _PLACE,
    _SLICE,
    concatenate,
    narrow,
    part_attributes,
    single_axis,
)
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.ops_shape import _RESHAPE, cast, reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.graph.trace import current_trace


def permute(x: TensorLike, *axes: int | Sequence[int]) -> Tensor:
    """Axes in another order: axis *i* of the result is axis ``axes[i]`` of `x`.

    Raises:
        ValueError: `axes` is not a permutation of all axes.
    """
    return _permuted(x, *_sequence(axes))


@composed
def _permuted(x: TensorLike, *axes: int) -> Tensor:
    return transpose(x, axes)


def _sequence(values: tuple[Any, ...]) -> tuple[int, ...]:
    """Arguments given one by one, or as one sequence."""
    if len(values) == 1 and isinstance(values[0], Sequence | np.ndarray):
        values = tuple(values[0])
    return tuple(map(int, values))


def squeeze(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """`x` without axes of extent 1: all of them, or the named ones.

    Raises:
        ValueError: A named axis has another extent, or is out of range.
    """
    return _squeezed(x, axis)


@composed
def _squeezed(x: TensorLike, axis: int | Sequence[int] | None) -> Tensor:
    x = as_tensor(x)
    if axis is None:
        drop = tuple(i for i, n in enumerate(x.shape) if n == 1 and not (x.batched and i == 0))
        trace = current_trace()
        if x.batched and x.shape[0] == 1 and trace is not None and trace.as_eager:
            raise ValueError(
                f"squeeze: without axes it takes away the batch of {x.shape}, which has one row"
            )
    else:
        drop = infer.normalize_axes("squeeze", axis, x.ndim)
        for i in drop:
            if x.shape[i] != 1:
                raise ValueError(f"squeeze: axis {i} of {x.shape} has more than one index")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in drop))


def unsqueeze(x: TensorLike, axis: int) -> Tensor:
    """`x` with an axis of extent 1 put in, which becomes axis `axis` of the result.

    Raises:
        ValueError: `axis` is out of range.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    at = single_axis("unsqueeze", axis, len(x.shape) + 1)
    return apply(_RESHAPE, x, shape=(*x.shape[:at], 1, *x.shape[at:]))


def expand(x: TensorLike, *shape: int | Sequence[int]) -> Tensor:
    """`x` repeated along axes of extent 1; -1 keeps an extent. New axes come first.

    Raises:
        ValueError: The shape does not fit.
    """
    return _expanded(x, *_sequence(shape))


@composed
def _expanded(x: TensorLike, *shape: int) -> Tensor:
    x = as_tensor(x)
    return broadcast_to(x, _expanded_shape(x.shape, shape))


@lru_cache(maxsize=4096)
def _expanded_shape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(wanted) - len(shape)
    if any(n < -1 for n in wanted) or -1 in wanted[: max(extra, 0)] or extra < 0:
        raise ValueError(f"expand: {shape} does not expand to {wanted}")
    return tuple(shape[i - extra] if n == -1 else n for i, n in enumerate(wanted))


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    Raises:
        TypeError: The dtypes differ.
        ValueError: There is none, or the shapes differ.
    """
    parts = [t if isinstance(t, Tensor) else as_tensor(t) for t in tensors]
    if not parts:
        raise ValueError("stack: expects one Tensor or more, got none")
    shape = parts[0].shape
    for p in parts:
        if p.shape != shape:
            raise ValueError(f"stack: shapes {shape} and {p.shape} differ")
    at = single_axis("unsqueeze", axis, len(shape) + 1)
    return _stacked(at, *parts)


@composed
def _stacked(at: int, *parts: Tensor) -> Tensor:
    shape = parts[0].shape
    layer = (*shape[:at], 1, *shape[at:])
    return concatenate([apply(_RESHAPE, p, shape=layer) for p in parts], at)


def split(x: TensorLike, size: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Pieces of `x` along an axis.

    Args:
        x: Any dtype.
        size: Extent of every piece (the last one may be shorter), or a list of all extents.
        axis: Which axis.

    Raises:
        ValueError: The extents are negative or do not add up to the axis's.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    along = single_axis("split", axis, len(x.shape))
    if type(size) is int or isinstance(size, int | np.integer):
        if size < 1:
            raise ValueError(f"split: size must be positive, got {size}")
        return _core.pieces(narrow, x, along, int(size))
    sizes = [int(s) for s in size]
    n = x.shape[along]
    if any(s < 0 for s in sizes) or sum(sizes) != n:
        raise ValueError(f"split: sizes {sizes} do not add up to the {n} of axis {along}")
    return _core.pieces(narrow, x, along, sizes)


def flip(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """`x` with the order along some axes, or all, reversed.

    Raises:
        ValueError: An axis is out of range or repeated.
    """
    return _flipped(x, axis)


@composed
def _flipped(x: TensorLike, axis: int | Sequence[int] | None) -> Tensor:
    x = as_tensor(x)
    axes = infer.normalize_axes("flip", axis, len(x.shape))
    return apply(_SLICE, x, **_flip_attributes(x.shape, axes)) if axes else x


@lru_cache(maxsize=4096)
def _flip_attributes(shape: tuple[int, ...], axes: tuple[int, ...]) -> dict[str, Any]:
    start = [max(n - 1, 0) if i in axes else 0 for i, n in enumerate(shape)]
    return part_attributes(start, [-1 if i in axes else 1 for i in range(len(shape))], shape)


def pad(x: TensorLike, widths: int | Sequence[Any], value: float = 0.0) -> Tensor:
    """`x` with a constant around it.

    Args:
        x: Any dtype.
        widths: ``(before, after)`` for every axis, one such pair for all, or one number.
        value: The constant.

    Raises:
        ValueError: The widths are negative, or not as many as axes.
    """
    return _padded(x, widths, value)


@composed
def _padded(x: TensorLike, widths: int | Sequence[Any], value: float) -> Tensor:
    x = as_tensor(x)
    key = int(widths) if isinstance(widths, int | np.integer) else tuple(map(_frozen, widths))
    attrs = _pad_attributes(x.shape, key)
    return x if attrs is None else apply(_PLACE, x, **attrs, fill=float(value))


def _frozen(width: Any) -> Any:
    return width if isinstance(width, int) else tuple(np.ravel(width).tolist())


@lru_cache(maxsize=4096)
def _pad_attributes(shape: tuple[int, ...], widths: Any) -> dict[str, Any] | None:
    """Attributes of `place`; ``None`` where nothing is added."""
    try:
        pairs = np.broadcast_to(np.asarray(widths, dtype=np.int64), (len(shape), 2))
    except ValueError:
        raise ValueError(
            f"pad: widths must be a pair for each of {len(shape)} axes, got {widths}"
        ) from None
    if pairs.size and pairs.min() < 0:
        raise ValueError(f"pad: widths must not be negative, got {widths}")
    if not pairs.any():
        return None
    wanted = tuple(int(n + b + a) for n, (b, a) in zip(shape, pairs, strict=True))
    return part_attributes(tuple(pairs[:, 0].tolist()), (1,) * len(shape), wanted)


def one_hot(labels: TensorLike, classes: int, dtype: DTypeLike = np.float32) -> Tensor:
    """1 at each label's place, else 0: ``y[..., c] = (labels[...] == c)``.

    Args:
        labels: int64 of any shape, each from 0 to `classes` - 1.
        classes: Extent of the last axis of the result.
        dtype: float32 or float64.

    Raises:
        TypeError: `labels` are not integers.
        ValueError: A label is out of range.
    """
    labels = as_tensor(labels)
    if labels.dtype != infer.INT64:
        raise TypeError(f"one_hot: labels must be integers, got {labels.dtype}")
    if not labels.symbolic and labels.size:
        low, high = labels.data.min(), labels.data.max()
        if low < 0 or high >= classes:
            raise ValueError(
                f"one_hot: labels must be from 0 to {classes - 1}, got {low} to {high}"
            )
    column = cast(reshape(labels, (*labels.shape, 1)), dtype)
    return equal(column, Tensor(np.arange(classes, dtype=column.dtype)))
