"""Ops that arrange elements without computing: views, transposition, broadcasting, conversion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastprop.graph import infer
from fastprop.graph.op import Spec, apply, register
from fastprop.graph.tensor import DTYPES, Tensor, TensorLike, as_tensor

MAX_AXES = 8
"""Axes of an array that a kernel can take."""


def _same(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    return specs[0]


def _infer_cast(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    return specs[0]._replace(dtype=attrs["dtype"])


def infer_broadcast(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """Output of `broadcast_to`: the shape in ``attrs``, batched as ``attrs`` says."""
    (x,) = specs
    out = Spec(tuple(attrs["shape"]), x.dtype, bool(attrs["batched"]))
    try:
        fits = np.broadcast_shapes(x.shape, out.shape) == out.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: shape {x.shape} does not broadcast to {out.shape}")
    if x.batched and not (out.batched and len(x.shape) == len(out.shape)):
        raise ValueError(
            f"{name}: the batch axis of {x.shape} must stay the first one of {out.shape}"
        )
    return out


def broadcast_axes(x: Tensor | Spec, y: Tensor | Spec) -> tuple[int, ...]:
    """Axes of `y` along which `x` was repeated to give its shape."""
    extra = len(y.shape) - len(x.shape)
    repeated = list(range(extra))
    for i, n in enumerate(x.shape, start=extra):
        is_batch = i == 0 and y.batched and not x.batched
        if n == 1 and (y.shape[i] != 1 or is_batch):
            repeated.append(i)
    return tuple(repeated)


def transpose_attributes(axes: Sequence[int]) -> dict[str, Any]:
    """A permutation, and the same with as many axes as the kernel has attributes for."""
    return {"axes": tuple(axes), "perm": (*axes, *range(len(axes), MAX_AXES))}


# The rules. Views run no kernel; `alias` is a place to differentiate at, `stop_gradient` an end.
_RESHAPE = register(
    "reshape",
    infer.reshape,
    lambda dy, y, x: reshape(dy, x.shape),
    view=True,
)
_ALIAS = register("alias", _same, lambda dy, y, x: dy, view=True)
_STOP = register("stop_gradient", _same, view=True)
AFTER = register("after", _same, lambda dy, y, x, *waits: dy, view=True)
_TRANSPOSE = register(
    "transpose",
    infer.transpose,
    lambda dy, y, x: transpose(dy, np.argsort(y.attrs["axes"]).tolist()),
)
_CAST = register("cast", _infer_cast, lambda dy, y, x: cast(dy, x.dtype), rowwise=True)


def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """The same elements, in row-major order, under another shape. Never copies.

    Args:
        x: Any Tensor.
        shape: Extents; one of them may be -1, which stands for what is left. The batch axis of a
            Program must stay the first one: write ``-1`` for it.

    Raises:
        ValueError: The number of elements would change.
        TypeError: Extents that are no integers.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    one = type(shape) is not tuple and isinstance(shape, int | np.integer)
    try:
        wanted = (int(shape),) if one else tuple(map(int, shape))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"reshape: shape must be integers, got {shape!r}") from None
    if -1 in wanted:
        wanted = _full_shape(x.shape, wanted)
    return apply(_RESHAPE, x, shape=wanted)


@lru_cache(maxsize=4096)
def _full_shape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The extents that `reshape` is asked for, with the one that -1 stands for."""
    if wanted.count(-1) > 1:
        raise ValueError(f"reshape: shape {wanted} may have one -1")
    size, rest = math.prod(shape), -math.prod(wanted)
    if rest == 0 or size % rest:
        raise ValueError(f"reshape: cannot reshape {shape} to {wanted}")
    return tuple(size // rest if n == -1 else n for n in wanted)


def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """Axes in another order; without `axes`, reversed.

    Args:
        x: Tensor of any dtype with up to eight axes.
        axes: Axis *i* of the result is axis ``axes[i]`` of `x`.

    Raises:
        ValueError: `axes` is not a permutation, or moves the batch axis of a Program.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    found = _transpose_attributes(None if axes is None else tuple(axes), len(x.shape))
    return x if found is None else apply(_TRANSPOSE, x, **found)


def exchange(name: str, x: Tensor, axis: int, other: int) -> Tensor:
    """Two axes in each other's place; errors name the function."""
    attrs = _exchange_attributes(name, axis, other, len(x.shape))
    return x if attrs is None else apply(_TRANSPOSE, x, **attrs)


@lru_cache(maxsize=4096)
def _exchange_attributes(name: str, axis: int, other: int, ndim: int) -> dict[str, Any] | None:
    order = [*range(ndim)]
    (i,), (j,) = (infer.normalize_axes(name, a, ndim) for a in (axis, other))
    order[i], order[j] = order[j], order[i]
    return _transpose_attributes(tuple(order), ndim)


def swapped(x: Tensor, axis: int) -> Tensor:
    """An axis, counted from 0, and the last one exchanged."""
    attrs = _swap_attributes(axis, len(x.shape))
    return x if attrs is None else apply(_TRANSPOSE, x, **attrs)


@lru_cache(maxsize=4096)
def _swap_attributes(axis: int, ndim: int) -> dict[str, Any] | None:
    order = [*range(ndim)]
    order[axis], order[-1] = order[-1], order[axis]
    return _transpose_attributes(tuple(order), ndim)


@lru_cache(maxsize=4096)
def _transpose_attributes(axes: tuple[int, ...] | None, ndim: int) -> dict[str, Any] | None:
    """``None`` where nothing changes."""
    order = range(ndim)[::-1] if axes is None else [int(a) + ndim * (a < 0) for a in axes]
    return None if list(order) == list(range(ndim)) else transpose_attributes(order)


def stop_gradient(x: TensorLike) -> Tensor:
    """The same value, as a constant to derivatives."""
    return apply(_STOP, as_tensor(x))


def alias(x: Tensor) -> Tensor:
    """The same value as a Tensor of its own, so that one use of `x` can be differentiated by."""
    return apply(_ALIAS, x)


def after(x: Tensor, waits: Sequence[Tensor]) -> Tensor:
    """The same value; what a Program computes from it comes after `waits` have been computed."""
    return apply(AFTER, x, *waits)


def cast(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """`x` as float32, float64 or int64, which ends derivatives.

    To integers numbers are rounded toward zero; beyond their range they become its end, NaN 0.

    Raises:
        TypeError: Another dtype is asked for.
    """
    x, wanted = as_tensor(x), np.dtype(dtype)
    if wanted not in DTYPES:
        raise TypeError(f"cast: dtype must be float32, float64 or int64, got {wanted}")
    return x if x.dtype == wanted else apply(_CAST, x, dtype=wanted)


def as_floating(x: TensorLike) -> Tensor:
    """`x` as a Tensor, integers as float32."""
    x = as_tensor(x)
    return cast(x, np.float32) if x.dtype.kind == "i" else x
