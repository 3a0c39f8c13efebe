"""NumPy's functions in terms of ours, under NumPy's signatures, where the two differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastprop import functional as F
from fastprop.graph import infer
from fastprop.graph.tensor import Axis, Tensor, TensorLike, as_tensor


def sort(a: TensorLike, axis: int = -1) -> Tensor:
    return F.sort(a, axis)[0]


def cumsum(a: TensorLike, axis: int | None = None) -> Tensor:
    return F.cumsum(ravel(a), 0) if axis is None else F.cumsum(a, axis)


def ravel(a: TensorLike) -> Tensor:
    return F.reshape(a, -1 if as_tensor(a).size else 0)


def clip(
    a: TensorLike, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None
) -> Tensor:
    return F.clip(a, a_min if min is None else min, a_max if max is None else max)


def broadcast_to(array: TensorLike, shape: int | Sequence[int]) -> Tensor:
    return F.broadcast_to(array, (shape,) if isinstance(shape, int) else shape)


def split(ary: TensorLike, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    x = as_tensor(ary)
    (along,) = infer.normalize_axes("np.split", axis, x.ndim)
    n = x.shape[along]
    if isinstance(indices_or_sections, int | np.integer):
        sections = int(indices_or_sections)
        if sections < 1 or n % sections:
            raise ValueError(f"np.split: {n} along axis {axis} do not make {sections} equal parts")
        return F.split(x, [n // sections] * sections, along)
    bounds = np.clip([0, *indices_or_sections, n], 0, n)
    return F.split(x, np.maximum(np.diff(bounds), 0).tolist(), along)


def dot(a: TensorLike, b: TensorLike) -> Tensor:
    x, y = as_tensor(a), as_tensor(b)
    if 0 in (x.ndim, y.ndim):
        return F.mul(a, b)
    if y.ndim > 2:
        raise TypeError(f"np.dot: on Tensors only with up to two axes of b, got shape {y.shape}")
    return F.matmul(x, y)


def outer(a: TensorLike, b: TensorLike) -> Tensor:
    return F.outer(ravel(a), ravel(b))


def diagonal(a: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    return F.diagonal(F.moveaxis(a, (axis1, axis2), (-2, -1)), offset)


def trace(a: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    return F.sum(diagonal(a, offset, axis1, axis2), -1)


def cumprod(a: TensorLike, axis: int | None = None) -> Tensor:
    return F.cumprod(ravel(a), 0) if axis is None else F.cumprod(a, axis)


def percentile(a: TensorLike, q: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return F.quantile(a, np.divide(q, 100), axis, keepdims)


def nan_to_num(
    x: TensorLike, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    return F.nan_to_num(x, nan, posinf, neginf)


def vstack(tup: Sequence[ArrayLike]) -> Tensor:
    return F.concatenate([_at_least(2, a) for a in tup])


def hstack(tup: Sequence[ArrayLike]) -> Tensor:
    parts = [_at_least(1, a) for a in tup]
    return F.concatenate(parts, 0 if parts[0].ndim == 1 else 1)


def _at_least(axes: int, a: Any) -> Tensor:
    x = as_tensor(a)
    return F.reshape(x, (1,) * (axes - x.ndim) + x.shape) if x.ndim < axes else x


def take_along_axis(arr: TensorLike, indices: TensorLike, axis: int = -1) -> Tensor:
    return F.gather(arr, axis, indices)


def pad(
    array: TensorLike, pad_width: Any, mode: str = "constant", constant_values: float = 0
) -> Tensor:
    if mode != "constant":
        raise TypeError(f"np.pad: on Tensors only with mode='constant', got argument {mode!r}")
    return F.pad(array, pad_width, constant_values)


def norm(x: TensorLike, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    of_vectors = isinstance(axis, int) or (axis is None and np.ndim(as_tensor(x).data) == 1)
    if ord is None or (of_vectors and not isinstance(ord, str) and 0 < ord <= math.inf):
        return F.norm(x, 2 if ord is None else ord, axis, keepdims)
    raise TypeError(f"np.linalg.norm: on Tensors only for vectors, got argument ord={ord!r}")


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.all: F.all, np.any: F.any, np.argmax: F.argmax, np.argmin: F.argmin, np.argsort: F.argsort,
    np.broadcast_to: broadcast_to, np.clip: clip, np.concatenate: F.concatenate,
    np.cumprod: cumprod, np.cumsum: cumsum, np.diag: F.diag, np.diagonal: diagonal, np.diff: F.diff,
    np.dot: dot, np.einsum: F.einsum, np.expand_dims: F.unsqueeze, np.flip: F.flip,
    np.full_like: F.full_like, np.hstack: hstack, np.linalg.norm: norm, np.max: F.max,
    np.mean: F.mean, np.median: F.median, np.min: F.min, np.moveaxis: F.moveaxis,
    np.nan_to_num: nan_to_num, np.ones_like: F.ones_like, np.outer: outer, np.pad: pad,
    np.percentile: percentile, np.prod: F.prod, np.quantile: F.quantile, np.ravel: ravel,
    np.repeat: F.repeat, np.reshape: F.reshape, np.roll: F.roll, np.round: F.round, np.sort: sort,
    np.split: split, np.squeeze: F.squeeze, np.stack: F.stack, np.std: F.std, np.sum: F.sum,
    np.swapaxes: F.swapaxes, np.take: F.take, np.take_along_axis: take_along_axis, np.tile: F.tile,
    np.trace: trace, np.transpose: F.transpose, np.tril: F.tril, np.triu: F.triu, np.var: F.var,
    np.vstack: vstack, np.where: F.where, np.zeros_like: F.zeros_like,
}  # fmt: skip
"""What takes the place of each; those of ours have NumPy's leading arguments."""
