"""Sums, means and extremes along axes, and their counterpart, broadcasting.

The derivative of a sum repeats, the derivative of repeating sums: the two call each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, apply, register
from fastprop.graph.ops_shape import _RESHAPE, broadcast_axes, cast, infer_broadcast, reshape
from fastprop.graph.tensor import Axis, Tensor, TensorLike, as_tensor


def sum_to(dy: Tensor, x: Tensor) -> Tensor:
    """`dy` summed over the axes along which `x` was broadcast: the reverse of broadcasting."""
    if x.spec == dy.spec:
        return dy
    axes = broadcast_axes(x, dy)
    if not axes:
        return dy
    total = sum(dy, axes, keepdims=True)
    return total if total.shape == x.shape else reshape(total, x.shape)


def reduce_mask(axes: Sequence[int]) -> int:
    """Axes as the kernels' bit mask."""
    mask = 0
    for axis in axes:
        mask |= 1 << axis
    return mask


def _kept(value: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """`value`, of the reduction's shape, with the reduced axes put back as extents of 1."""
    shape = _kept_shape(x.shape, y.attrs["axes"])
    return value if value.shape == shape else apply(_RESHAPE, value, shape=shape)


@lru_cache(maxsize=4096)
def _kept_shape(shape: tuple[int, ...], mask: int) -> tuple[int, ...]:
    return tuple(1 if mask >> i & 1 else n for i, n in enumerate(shape))


def _extreme_vjp(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Where several elements are the extreme one, each gets an equal share."""
    extreme = _kept(y, y, x)
    chosen = x >= extreme if y.op is _MAX else x <= extreme
    count = _reduce(_SUM, chosen, _axes_of(y.attrs["axes"]), True)
    return chosen * (_kept(dy, y, x) / count)


def _axes_of(mask: int) -> tuple[int, ...]:
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)


def _infer_nonempty(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    out = infer.reduction()(name, specs, attrs)
    for axis in _axes_of(attrs["axes"]):
        if specs[0].shape[axis] == 0:
            raise ValueError(f"{name}: axis {axis} of shape {specs[0].shape} is empty")
    return out


def _infer_mean(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    infer.float_dtype(name, specs)
    return _infer_nonempty(name, specs, attrs)


def _infer_sum_squares(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    infer.float_dtype(name, specs)
    return infer.reduction()(name, specs, attrs)


def _infer_argmax(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (x,) = specs
    infer.number_dtype(name, specs)
    if not x.shape or x.shape[-1] == 0:
        raise ValueError(f"{name}: shape {x.shape} has nothing along its last axis")
    if x.batched and len(x.shape) == 1:
        raise ValueError(f"{name}: shape {x.shape} has only the batch axis")
    return Spec(x.shape[:-1], infer.INT64, x.batched)


def _infer_broadcast_mean(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    out = infer_broadcast(name, specs, attrs)
    infer.float_dtype(name, specs)
    if len(specs[0].shape) != len(out.shape):
        raise ValueError(f"{name}: {specs[0].shape} and {out.shape} must have as many axes")
    return out


# The rules.                                     dx = vjp(dy, y, x)
_BROADCAST = register("broadcast_to", infer_broadcast, lambda dy, y, x: sum_to(dy, x), rowwise=True)
_BROADCAST_MEAN = register(
    "broadcast_mean",
    _infer_broadcast_mean,
    lambda dy, y, x: mean(dy, broadcast_axes(x, y), keepdims=True),
    rowwise=True,
)
_SUM = register(
    "sum", infer.reduction(), lambda dy, y, x: _repeat(_BROADCAST, _kept(dy, y, x), x), rowwise=True
)
_SUM_SQUARES = register(
    "sum_squares",
    _infer_sum_squares,
    lambda dy, y, x: _repeat(_BROADCAST, _kept(dy + dy, y, x), x) * x,
    rowwise=True,
)
# The number of rows may change from step to step, so it is the kernel that divides by it.
_MEAN = register(
    "mean",
    _infer_mean,
    lambda dy, y, x: _repeat(_BROADCAST_MEAN, _kept(dy, y, x), x),
    rowwise=True,
)
_MAX = register("max", _infer_nonempty, _extreme_vjp, rowwise=True)
_MIN = register("min", _infer_nonempty, _extreme_vjp, rowwise=True)
_ARGMAX = register("argmax", _infer_argmax, rowwise=True)


def _repeat(op: Op, dy: Tensor, x: Tensor) -> Tensor:
    return apply(op, dy, shape=x.shape, batched=x.batched)


def _reduce(op: Op, x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if isinstance(axis, list):
        axis = tuple(axis)
    mask = _mask_of(op.name, axis, len(x.shape))
    return apply(op, x, axes=mask, keepdims=keepdims is True or bool(keepdims))


@lru_cache(maxsize=4096, typed=True)
def _mask_of(name: str, axis: int | tuple[int, ...] | None, ndim: int) -> int:
    return reduce_mask(infer.normalize_axes(name, axis, ndim))


def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Sum over axes, :math:`y = \sum_i x_i`.

    Args:
        x: Tensor of float32, float64 or int64 (whose sum wraps around).
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the summed axes with extent 1.

    Raises:
        ValueError: An axis is out of range or repeated.
    """
    return _reduce(_SUM, x, axis, keepdims)


def sum_squares(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Sum of squares over axes, :math:`y = \sum_i x_i^2`, in one pass over `x`.

    Args:
        x: Tensor of float32 or float64.
        axis: One axis, several, or ``None`` for all.
        keepdims: Keep the summed axes with extent 1.

    Raises:
        TypeError: `x` is not of a floating dtype.
        ValueError: An axis is out of range or repeated.
    """
    return _reduce(_SUM_SQUARES, x, axis, keepdims)


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    r"""Mean over axes, :math:`y = \frac{1}{n} \sum_i x_i`; of integers float32.

    Arguments as for :func:`sum`; the axes must not be empty.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if x.dtype.kind == "i":  # summed in float64, where integers up to 2^53 are exact
        return cast(_reduce(_MEAN, cast(x, np.float64), axis, keepdims), np.float32)
    return _reduce(_MEAN, x, axis, keepdims)


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element along axes. Arguments as for :func:`sum`; the axes must not be empty.

    Where several elements are the largest, the derivative is shared equally among them.
    """
    return _reduce(_MAX, x, axis, keepdims)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element along axes; otherwise as :func:`max`."""
    return _reduce(_MIN, x, axis, keepdims)


def broadcast_to(x: TensorLike, shape: Sequence[int] | Tensor) -> Tensor:
    """`x` repeated to `shape`, or to the shape of another Tensor, by NumPy's rules.

    Raises:
        ValueError: The shapes do not fit.
    """
    x = as_tensor(x)
    if isinstance(shape, Tensor):
        return _repeat(_BROADCAST, x, shape)
    wanted = tuple(map(int, shape))
    return apply(_BROADCAST, x, shape=wanted, batched=x.batched)
