"""Shapes and dtypes of op outputs, and the errors for operands that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastprop.graph.op import Spec

Attrs = dict[str, Any]
INT64: np.dtype[Any] = np.dtype(np.int64)


def float_dtype(name: str, specs: Sequence[Spec]) -> np.dtype[Any]:
    """The one floating dtype that all operands share."""
    dtype = specs[0].dtype
    for spec in specs:
        if spec.dtype.kind != "f":
            raise TypeError(f"{name}: expects float32 or float64 operands, got {spec.dtype}")
        if spec.dtype != dtype:
            raise TypeError(
                f"{name}: operands have different dtypes, {dtype} and {spec.dtype}; "
                "convert one with astype"
            )
    return dtype


def broadcast_shapes(name: str, specs: Sequence[Spec]) -> tuple[tuple[int, ...], bool]:
    """NumPy's broadcasting, and whether the result's first axis is the batch."""
    shapes = [s.shape for s in specs]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"{name}: shapes {' and '.join(str(s) for s in shapes)} do not broadcast"
        ) from None
    batched = any(s.batched for s in specs)
    if batched:
        for spec in specs:
            aligned = len(spec.shape) == len(shape) and spec.shape[0] == shape[0]
            if spec.batched and not aligned:
                raise ValueError(
                    f"{name}: the batch axis must stay the first one, but shape {spec.shape} "
                    f"broadcasts to {shape}; reshape so that both operands have {len(shape)} axes"
                )
            if not spec.batched and len(spec.shape) == len(shape) and spec.shape[0] != 1:
                raise ValueError(
                    f"{name}: an operand of shape {spec.shape} does not vary with the batch, but "
                    f"its first axis meets the batch axis of {shape}, whose extent may change from "
                    "step to step"
                )
    return shape, batched


def elementwise(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """Output of an op on broadcast operands of one dtype."""
    dtype = float_dtype(name, specs)
    if len(specs) == 1:
        return Spec(specs[0].shape, dtype, specs[0].batched)
    shape, batched = broadcast_shapes(name, specs)
    return Spec(shape, dtype, batched)


def number_dtype(name: str, specs: Sequence[Spec]) -> np.dtype[Any]:
    """The one dtype that all operands share: a floating one, or int64."""
    return INT64 if all(s.dtype == INT64 for s in specs) else float_dtype(name, specs)


def arithmetic(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """Output of an op on broadcast operands of one dtype, which may be int64."""
    if all(spec.dtype == INT64 for spec in specs):
        shape, batched = broadcast_shapes(name, specs)
        return Spec(shape, INT64, batched)
    return elementwise(name, specs, attrs)


def same_shape(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    """Output of an op whose operands all have one shape."""
    dtype = float_dtype(name, specs)
    for spec in specs[1:]:
        if spec.shape != specs[0].shape:
            raise ValueError(
                f"{name}: operands must have one shape, got {specs[0].shape} and {spec.shape}"
            )
    return Spec(specs[0].shape, dtype, any(s.batched for s in specs))


def normalize_axes(name: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes as a sorted tuple of non-negative numbers."""
    known = (
        axis is None or type(axis) is int or (type(axis) is tuple and {*map(type, axis)} <= _INT)
    )
    return (_known_axes if known else _normalized_axes)(name, axis, ndim)


_INT = {int}


def _normalized_axes(name: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, Sequence | np.ndarray) else (axis,)
    for a in axes:
        if not isinstance(a, int | np.integer):
            raise TypeError(f"{name}: axis must be an integer, several or None, got {axis!r}")
        if not -ndim <= a < ndim:
            raise ValueError(f"{name}: axis {a} is out of range for {ndim} axes")
    normalized = tuple(sorted(int(a) % ndim for a in axes))
    if len(set(normalized)) != len(normalized):
        raise ValueError(f"{name}: axes {axes} repeat one")
    return normalized


_known_axes = lru_cache(maxsize=4096)(_normalized_axes)


def reduction(keepdims_attr: str = "keepdims") -> Callable[[str, Sequence[Spec], Attrs], Spec]:
    """Output of a reduction over the axes in the bit mask ``attrs['axes']``."""

    def infer(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
        (x,) = specs
        dtype = x.dtype if x.dtype == INT64 else float_dtype(name, specs)
        mask = int(attrs["axes"])
        if attrs[keepdims_attr]:
            shape = tuple(1 if mask >> i & 1 else n for i, n in enumerate(x.shape))
        else:
            shape = tuple(n for i, n in enumerate(x.shape) if not mask >> i & 1)
        return Spec(shape, dtype, x.batched and not mask & 1)

    return infer


def reshape(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    (x,) = specs
    shape = tuple(attrs["shape"])
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: shape {shape} may have one -1 and no other negative extent")
    if int(np.prod(shape, dtype=np.int64)) != int(np.prod(x.shape, dtype=np.int64)):
        raise ValueError(f"{name}: cannot reshape {x.shape} to {shape}")
    batched = x.batched and bool(shape) and shape[0] == x.shape[0]
    if x.batched and not batched:
        raise ValueError(
            f"{name}: {x.shape} to {shape} would move the batch axis; it must stay the first one"
        )
    return Spec(shape, x.dtype, batched)


def transpose(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    (x,) = specs
    axes = tuple(attrs["axes"])
    if sorted(axes) != list(range(len(x.shape))):
        raise ValueError(f"{name}: axes {axes} are not a permutation of the {len(x.shape)} axes")
    if x.batched and axes[0] != 0:
        raise ValueError(
            f"{name}: axes {axes} would move the batch axis; it must stay the first one"
        )
    return Spec(tuple(x.shape[a] for a in axes), x.dtype, x.batched)


def matmul(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    a, b = specs
    dtype = float_dtype(name, specs)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ValueError(f"{name}: operands need two or more axes, got {a.shape} and {b.shape}")
    m, k = a.shape[-2:][::-1] if attrs["transpose_a"] else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if attrs["transpose_b"] else b.shape[-2:]
    if k != k2:
        raise ValueError(f"{name}: a gives {k} columns, b expects {k2} ({a.shape} and {b.shape})")
    lead_a, lead_b = a.shape[:-2], b.shape[:-2]
    if lead_b and lead_a != lead_b:
        raise ValueError(f"{name}: leading axes differ, {lead_a} and {lead_b}")
    if lead_a and not lead_b and attrs["transpose_a"]:
        raise ValueError(
            f"{name}: a transposed operand of shape {a.shape} needs a partner of as many axes"
        )
    if lead_a:
        batched = a.batched
        if lead_b and a.batched != b.batched:
            raise ValueError(f"{name}: one operand varies with the batch, the other does not")
    else:
        batched = a.batched and not attrs["transpose_a"]
        contracted = (a.batched and attrs["transpose_a"], b.batched and not attrs["transpose_b"])
        if contracted[0] != contracted[1] or (b.batched and attrs["transpose_b"]):
            raise ValueError(f"{name}: only the batch axes of both operands may be summed over")
    return Spec((*lead_a, m, n), dtype, batched)


def softmax_like(name: str, specs: Sequence[Spec], attrs: Attrs) -> Spec:
    if not specs[0].shape:
        raise ValueError(f"{name}: a scalar has no axis to normalize over")
    return same_shape(name, specs, attrs)
