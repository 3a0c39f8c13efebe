"""``x[…]`` with NumPy's meaning, made of slices, one `take` and reshapes.

Integers, slices, ``None`` and ``...`` give one slice; arrays of integers are turned into one index
into the axes they stand for, which `take` picks; a mask counts as the integers of its ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.graph.op import apply
from fastprop.graph.ops_index import _SLICE, _TAKE, as_index, part, part_attributes
from fastprop.graph.ops_shape import _RESHAPE, reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor
from fastprop.graph.trace import is_tracing


def _other(x: Tensor, key: Any) -> Tensor:
    """``x[key]`` for the keys that :func:`getitem` has no shorter way for."""
    items = _expanded(x.shape, key if type(key) is tuple else (key,))
    start, step, extent, shape, layout = _basic(x.shape, items)
    y = part(x, start, step, extent)
    if y.shape != shape:
        y = reshape(y, shape)
    arrays = [(i, item) for i, item in enumerate(layout) if item is not None]
    return _advanced(y, arrays, _separated(items)) if arrays else y


@composed
def _part(x: Tensor, *flat: Any) -> Tensor:
    """What a key without arrays picks: a slice and its shape."""
    items = iter(flat)
    basic = [tuple([next(items) for _ in range(3)]) if i is slice else i for i in items]
    part_of, shape = _basic_plan(x.shape, tuple(basic))
    y = x if part_of is None else apply(_SLICE, x, **part_of)
    return y if shape is None else apply(_RESHAPE, y, shape=shape)


@lru_cache(maxsize=4096)
def _basic_plan(
    shape: tuple[int, ...], basic: tuple[Any, ...]
) -> tuple[dict[str, Any] | None, tuple[int, ...] | None]:
    """For a key without arrays the slice that is taken and its shape at last, or None."""
    keys = tuple(slice(*item) if type(item) is tuple else item for item in basic)
    start, step, extent, out = _basic(shape, _expanded(shape, keys))[:4]
    whole = extent == shape and all(s == 1 for s in step)
    return None if whole else part_attributes(start, step, extent), None if out == extent else out


def _expanded(shape: tuple[int, ...], key: tuple[Any, ...]) -> list[Any]:
    """The key with arrays as int64, masks as arrays, and the ellipsis written out."""
    items: list[Any] = []
    for item in key:
        if item is None or item is Ellipsis or isinstance(item, slice):
            items.append(item)
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
            items.append(int(item))
        else:
            items.extend(_arrays(item))
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > len(shape):
        raise IndexError(f"Tensor[…]: {used} indices for the {len(shape)} axes of shape {shape}")
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("Tensor[…]: an index may have one '...' only")
    at = dots[0] if dots else len(items)
    items[at : at + len(dots)] = [slice(None)] * (len(shape) - used)
    axis = 0
    for i, item in enumerate(items):
        if isinstance(item, _Mask):
            item.check(shape, axis)
            items[i] = item.index
        axis += item is not None
    return items


class _Mask:
    """One axis of a mask: the indices of its ones along it, and what the axis must measure."""

    def __init__(self, index: NDArray[Any], extent: int) -> None:
        self.index, self.extent = index, extent

    def check(self, shape: tuple[int, ...], axis: int) -> None:
        if shape[axis] != self.extent:
            raise IndexError(
                f"Tensor[…]: a mask has extent {self.extent} where axis {axis} of {shape} has "
                f"{shape[axis]}"
            )


def _arrays(item: Any) -> list[Any]:
    """An array of integers as it is; a mask as one array for each of its axes.

    A float Tensor is a mask, as in :func:`where`: comparisons give ones and zeros.
    """
    if isinstance(item, Tensor) and item.symbolic:
        if item.dtype.kind == "i":
            return [item]
        raise TypeError(
            "Tensor[…]: a mask cannot be used while a Program is being traced, since the shape of "
            "the result would depend on its values; use where"
        )
    values = np.asarray(item)
    if isinstance(item, Tensor) and values.dtype.kind == "f":
        values = values != 0
    if values.dtype.kind == "b":
        if values.ndim == 0:
            raise TypeError("Tensor[…]: a single True or False is no index")
        return [_Mask(i, n) for i, n in zip(np.nonzero(values), values.shape, strict=True)]
    if values.size == 0 and not isinstance(item, np.ndarray | Tensor):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise TypeError(
            "Tensor[…]: indices are integers, slices, ..., None, integer arrays or masks, got "
            f"{type(item).__name__}" + (f" of {values.dtype}" if values.dtype != object else "")
        )
    return [values]


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray | Tensor)


def _basic(shape: tuple[int, ...], items: list[Any]) -> tuple[Any, ...]:
    """The slices among the items: start, step and extent in every axis, the shape that results,
    and for each axis of that its array, or None."""
    start, step, extent = [], [], []
    out: list[int] = []
    layout: list[Any] = []
    with_arrays = any(_is_array(item) for item in items)
    axis = 0
    for item in items:
        if item is None:
            out.append(1)
            layout.append(None)
            continue
        n = shape[axis]
        if isinstance(item, slice):
            first, stop, by = item.indices(n)
            count = len(range(first, stop, by))
            start.append(first if count else 0)
            step.append(by if count else 1)
            extent.append(count)
            out.append(count)
            layout.append(None)
        elif isinstance(item, int) and not with_arrays:
            if not -n <= item < n:
                raise IndexError(
                    f"Tensor[…]: index {item} is out of range for axis {axis} of shape {shape}"
                )
            start.append(item % n)
            step.append(1)
            extent.append(1)
        else:  # beside arrays an integer is one itself, as in NumPy
            start.append(0)
            step.append(1)
            extent.append(n)
            out.append(n)
            layout.append(np.asarray(item) if isinstance(item, int) else item)
        axis += 1
    return tuple(start), tuple(step), tuple(extent), tuple(out), layout


def _separated(items: list[Any]) -> bool:
    """Whether slices stand between arrays: the axes of the index come first then, as in NumPy."""
    at = [i for i, item in enumerate(items) if _is_array(item) or isinstance(item, int)]
    return at != list(range(at[0], at[0] + len(at)))


def _advanced(y: Tensor, arrays: list[tuple[int, Any]], separated: bool) -> Tensor:
    """Picks by arrays: their axes moved together, made one, and taken from."""
    axes = [axis for axis, _ in arrays]
    indices = [as_index("Tensor[…]", item, y.shape[axis]) for axis, item in arrays]
    at = 0 if separated else axes[0]
    if len(axes) == 1:
        (index,) = indices
    else:
        index = _combined(indices, [y.shape[a] for a in axes])
        rest = [a for a in range(y.ndim) if a not in axes]
        y = transpose(y, [*rest[:at], *axes, *rest[at:]])
        count = math.prod(y.shape[at : at + len(axes)])
        y = reshape(y, (*y.shape[:at], count, *y.shape[at + len(axes) :]))
    if index.ndim == 0:
        y = apply(_TAKE, y, reshape(index, (1,)), axis=at)
        return reshape(y, (*y.shape[:at], *y.shape[at + 1 :]))
    return apply(_TAKE, y, index, axis=at)


@composed
def _points(x: Tensor, *indices: Tensor) -> Tensor:
    """``x[i, j, …]`` with an array for each of the first axes."""
    return _advanced(x, list(enumerate(indices)), False)


def _combined(indices: list[Tensor], extents: list[int]) -> Tensor:
    """Indices that broadcast against each other as one into the axes together."""
    symbolic = any(index.symbolic for index in indices)
    if symbolic and is_tracing():
        raise TypeError(
            "Tensor[…]: only one index array may be a symbolic Tensor; use gather for an index "
            "that varies with the batch"
        )
    if symbolic:  # as a recipe
        combined = indices[0]
        for index, extent in zip(indices[1:], extents[1:], strict=True):
            combined = combined * extent + index
        return combined
    flat = indices[0].data
    try:
        for index, extent in zip(indices[1:], extents[1:], strict=True):
            flat = flat * extent + index.data
    except ValueError:
        shapes = " and ".join(str(index.shape) for index in indices)
        raise IndexError(f"Tensor[…]: index arrays {shapes} do not broadcast") from None
    return Tensor(np.asarray(flat))


_core.bind_index(apply, _TAKE, _part, _points, _other)
getitem: Callable[[Tensor, Any], Tensor] = _core.getitem
"""``x[key]`` for every key that NumPy takes; see :class:`Tensor`. The usual ones are looked at in
C++ (csrc/bindings/bind_index.cpp): they become one call of `_part`, `_points` or `take`."""
