"""Axes put in another order, joined, cut apart, and walked around; elements and axes repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastprop.graph.ops_arrange import split
from fastprop.graph.ops_index import concatenate, narrow, single_axis, take
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.ops_shape import exchange, reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def flatten(x: TensorLike, start: int = 0, end: int = -1) -> Tensor:
    """`x` with the axes from `start` to `end`, both included, as one; ``flatten(x, 1)`` keeps rows.

    Raises:
        ValueError: An axis is out of range, `end` comes before `start`, or the batch axis of a
            Program is among several.
    """
    return _flattened(x, start, end)


@composed
def _flattened(x: TensorLike, start: int, end: int) -> Tensor:
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = single_axis("flatten", start, x.ndim), single_axis("flatten", end, x.ndim)
    if last < first:
        raise ValueError(f"flatten: axis {end} comes before axis {start} of {x.shape}")
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """`x` with two axes in each other's place.

    Raises:
        ValueError: An axis is out of range, or the batch axis of a Program would move.
    """
    return exchange("swapaxes", x if isinstance(x, Tensor) else as_tensor(x), axis1, axis2)


def moveaxis(
    x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """`x` with some axes at other places; the rest stay in order.

    Args:
        x: Any dtype.
        source: The axis that moves, or several.
        destination: Where each of them is in the result.

    Raises:
        ValueError: An axis is out of range or repeated, there are not as many of both, or the batch
            axis of a Program would move.
    """
    x = as_tensor(x)
    return transpose(x, _moved_order(_hashable(source), _hashable(destination), x.ndim))


@lru_cache(maxsize=4096)
def _moved_order(source: Any, destination: Any, ndim: int) -> tuple[int, ...]:
    origin, target = _axes_in_order(source, ndim), _axes_in_order(destination, ndim)
    if len(origin) != len(target):
        raise ValueError(f"moveaxis: {len(origin)} axes cannot become {len(target)}")
    order = [i for i in range(ndim) if i not in origin]
    for place, axis in sorted(zip(target, origin, strict=True)):
        order.insert(place, axis)
    return tuple(order)


def _hashable(axes: int | Sequence[int]) -> Any:
    return axes if type(axes) is int else tuple(np.ravel(axes).tolist())


def _axes_in_order(axes: int | tuple[int, ...], ndim: int) -> list[int]:
    found = [
        single_axis("moveaxis", a, ndim) for a in (axes if isinstance(axes, tuple) else (axes,))
    ]
    if len(set(found)) != len(found):
        raise ValueError(f"moveaxis: axes {axes} repeat one")
    return found


def roll(
    x: TensorLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """`x` moved along axes; what leaves at an end comes in at the other.

    Args:
        x: Any dtype.
        shift: By how many places, toward higher indices if positive; one number for all axes, or
            one for each.
        axis: Which axes; ``None`` for `x` flattened and put in shape again.

    Raises:
        ValueError: An axis is out of range or the batch axis of a Program, or there is not one
            `shift` for each.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    return _rolled(x, _hashable(shift), None if axis is None else _hashable(axis))


@composed
def _rolled(x: Tensor, shift: Any, axis: Any) -> Tensor:
    if axis is None:
        return reshape(_rolled(reshape(x, (x.size,)), shift, 0), x.shape)
    axes = axis if type(axis) is tuple else (axis,)
    shifts = shift if type(shift) is tuple else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for places, one in zip(shifts, axes, strict=True):
        along = single_axis("roll", one, x.ndim)
        n = x.shape[along]
        if x.batched and along == 0:
            raise ValueError(f"roll: the batch axis of {x.shape} cannot be moved along")
        if n and places % n:
            cut = n - places % n
            x = concatenate([narrow(x, along, cut, n - cut), narrow(x, along, 0, cut)], along)
    return x


def chunk(x: TensorLike, chunks: int, axis: int = 0) -> list[Tensor]:
    """`x` along an axis in that many pieces of one size; the last one may be smaller, or missing.

    Raises:
        ValueError: `chunks` is not positive, or the axis is out of range.
    """
    x = as_tensor(x)
    if chunks < 1:
        raise ValueError(f"chunk: chunks must be positive, got {chunks}")
    n = x.shape[single_axis("chunk", axis, x.ndim)]
    return split(x, -(-n // chunks) if n else [0] * chunks, axis)


def unbind(x: TensorLike, axis: int = 0) -> list[Tensor]:
    """The parts of `x` for each index along an axis, without that axis.

    Raises:
        ValueError: The axis is out of range.
    """
    x = as_tensor(x)
    along = single_axis("unbind", axis, x.ndim)
    return [_index_of(x, along, i) for i in range(x.shape[along])]


@composed
def _index_of(x: Tensor, axis: int, i: int) -> Tensor:
    return reshape(narrow(x, axis, i, 1), (*x.shape[:axis], *x.shape[axis + 1 :]))


def tile(x: TensorLike, *repeats: int | Sequence[int]) -> Tensor:
    """`x` side by side with itself: PyTorch's ``x.repeat``.

    Args:
        x: Any dtype.
        *repeats: How often along each axis, one by one or as a sequence; for the last axes if they
            are fewer than the axes, else `x` gets new first ones.

    Raises:
        ValueError: A number is negative, or the batch axis of a Program would be repeated.
    """
    x = as_tensor(x)
    one = len(repeats) == 1 and isinstance(repeats[0], Sequence | np.ndarray)
    times = tuple(int(r) for r in (repeats[0] if one else repeats))  # type: ignore[union-attr, arg-type]
    return _tiled(x, (1,) * (x.ndim - len(times)) + times)


@composed
def _tiled(x: Tensor, times: tuple[int, ...]) -> Tensor:
    x = reshape(x, (1,) * (len(times) - x.ndim) + x.shape)
    for axis, count in enumerate(times):
        x = _repeated_along("tile", x, axis, count, whole=True)
    return x


def repeat(x: TensorLike, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Every element, or every part along an axis, several times: torch.repeat_interleave.

    Args:
        x: Any dtype.
        repeats: How often, one number for all or one for each.
        axis: Which axis; ``None`` for `x` flattened.

    Raises:
        ValueError: A number is negative, there is not one for each, the axis is out of range, or
            the batch axis of a Program.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    along = single_axis("repeat", axis, x.ndim)
    if isinstance(repeats, int | np.integer):
        return _repeat(x, along, int(repeats))
    counts = np.asarray(repeats)
    if counts.shape != (x.shape[along],) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"repeat: expects one number that is not negative, or one for each of the "
            f"{x.shape[along]} along axis {along}, got {repeats!r}"
        )
    return take(x, np.repeat(np.arange(len(counts)), counts), along)


@composed
def _repeat(x: Tensor, axis: int, count: int) -> Tensor:
    return _repeated_along("repeat", x, axis, count, whole=False)


def _repeated_along(name: str, x: Tensor, axis: int, count: int, *, whole: bool) -> Tensor:
    """The axis as a whole, or each of its parts, `count` times; with five axes at most between."""
    if count < 0:
        raise ValueError(f"{name}: repeats must not be negative, got {count}")
    if count == 1:
        return x
    if x.batched and axis == 0:
        raise ValueError(f"{name}: the batch axis of {x.shape} cannot be repeated")
    first: tuple[Any, ...] = x.shape[: min(axis, 1)]  # the batch stays an axis of its own
    lead, n, tail = math.prod(x.shape[1:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    before, after = ((1, n), (count, n)) if whole else ((n, 1), (n, count))
    y = broadcast_to(reshape(x, (*first, lead, *before, tail)), (*first, lead, *after, tail))
    return reshape(y, (*x.shape[:axis], n * count, *x.shape[axis + 1 :]))
