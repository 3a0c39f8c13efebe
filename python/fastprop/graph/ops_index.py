"""Parts of arrays and elements by index: the primitives under indexing.

They come in pairs whose derivatives are each other: `slice` and `place`, `take` and `take_add`,
`gather` and `scatter_add`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastprop import _core
from fastprop.graph import infer
from fastprop.graph.op import Op, Spec, Vjp, apply, register
from fastprop.graph.ops_shape import MAX_AXES, reshape
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.registry import type_name

MAX_PARTS = 32
"""Parts that the kernel of `concatenate` joins in one call."""


# -- shapes ---------------------------------------------------------------------------------------


def _whole_first_axis(attrs: infer.Attrs, extent: int) -> bool:
    return bool(attrs["start"][0] == 0 and attrs["step"][0] == 1 and attrs["shape"][0] == extent)


def _infer_slice(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    (x,) = specs
    if x.batched and not _whole_first_axis(attrs, x.shape[0]):
        raise ValueError(
            f"{name}: only all of the batch axis of {x.shape} can be taken, its extent changes "
            "from step to step"
        )
    return Spec(attrs["shape"], x.dtype, x.batched)


def _infer_concatenate(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    first, axis = specs[0], attrs["axis"]
    for spec in specs:
        if spec.dtype != first.dtype:
            raise TypeError(f"{name}: parts have different dtypes, {first.dtype} and {spec.dtype}")
        rest = [s.shape[:axis] + s.shape[axis + 1 :] for s in (first, spec)]
        if len(spec.shape) != len(first.shape) or rest[0] != rest[1]:
            raise ValueError(
                f"{name}: shapes {first.shape} and {spec.shape} differ outside of axis {axis}"
            )
        if spec.batched != first.batched:
            raise ValueError(f"{name}: some parts vary with the batch, others do not")
    if first.batched and axis == 0:
        raise ValueError(f"{name}: the batch axis of {first.shape} must stay as it is")
    extent = sum(s.shape[axis] for s in specs)
    shape = (*first.shape[:axis], extent, *first.shape[axis + 1 :])
    return Spec(shape, first.dtype, first.batched)


def _checked_index(name: str, index: Spec) -> None:
    if index.dtype != infer.INT64:
        raise TypeError(f"{name}: index must be int64, got {index.dtype}")
    if not index.shape:
        raise ValueError(f"{name}: index must have an axis")


def _infer_take(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x [outer, n, inner], index of any shape → [outer, *index, inner]."""
    x, index = specs
    _checked_index(name, index)
    axis = attrs["axis"]
    if (x.batched and axis == 0) or (index.batched and axis != 0):
        raise ValueError(f"{name}: the batch axis must stay the first one")
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return Spec(shape, x.dtype, x.batched or index.batched)


def _infer_take_add(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    dy, index = specs
    axis, n = attrs["axis"], attrs["n"]
    _checked_index(name, index)
    shape = (*dy.shape[:axis], n, *dy.shape[axis + len(index.shape) :])
    return Spec(shape, infer.float_dtype(name, [dy]), dy.batched and axis != 0)


def _infer_gather(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    x, index = specs
    _checked_index(name, index)
    axis = attrs["axis"]
    _fits_index(name, x, index, axis)
    if x.batched and axis == 0:
        raise ValueError(f"{name}: the batch axis of {x.shape} must stay the first one")
    if axis != 0 and x.batched != index.batched:
        raise ValueError(f"{name}: one of x and index varies with the batch, the other does not")
    return Spec(index.shape, x.dtype, index.batched)


def _infer_scatter(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    source, index = specs
    axis = attrs["axis"]
    _checked_index(name, index)
    if source.shape != index.shape:
        raise ValueError(f"{name}: source has shape {source.shape}, the index {index.shape}")
    if source.batched != index.batched:
        raise ValueError(
            f"{name}: one of source and index varies with the batch, the other does not"
        )
    shape = (*source.shape[:axis], attrs["n"], *source.shape[axis + 1 :])
    return Spec(shape, infer.number_dtype(name, [source]), source.batched and axis != 0)


def _fits_index(name: str, x: Spec, index: Spec, axis: int) -> None:
    if len(x.shape) != len(index.shape) or any(
        a != b for i, (a, b) in enumerate(zip(x.shape, index.shape, strict=True)) if i != axis
    ):
        raise ValueError(
            f"{name}: index has shape {index.shape}, expected that of x, {x.shape}, outside of "
            f"axis {axis}"
        )


# -- the ops --------------------------------------------------------------------------------------


def part_attributes(
    start: Sequence[int], step: Sequence[int], shape: Sequence[int]
) -> dict[str, Any]:
    """First index and step of every axis, as many as the kernel has; and the resulting shape."""
    more = MAX_AXES - len(start)
    return {"start": (*start, *_ZEROS[:more]), "step": (*step, *_ONES[:more]), "shape": shape}


_ZEROS, _ONES = (0,) * MAX_AXES, (1,) * MAX_AXES


def _part_vjp(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return apply(_PLACE, dy, **{**y.attrs, "shape": x.shape, "fill": 0.0})


def _place_vjp(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
    attrs = {**y.attrs, "shape": x.shape}
    del attrs["fill"]
    return apply(_SLICE, dy, **attrs)


def _part_of(position: int) -> Vjp:
    """The derivative by one of the parts: its own piece of dy."""

    def rule(dy: Tensor, y: Tensor, *parts: Tensor) -> Tensor:
        axis = y.attrs["axis"]
        start = 0
        for p in parts[:position]:
            start += p.shape[axis]
        return narrow(dy, axis, start, parts[position].shape[axis])

    return rule


def _keeps_rows(attrs: dict[str, float]) -> bool:
    return attrs["start0"] == 0 and attrs["step0"] == 1


def other_axis(attrs: dict[str, float]) -> bool:
    """Rowwise unless it works along the first axis."""
    return attrs["axis"] != 0


def _first_axis_by_row(attrs: dict[str, float]) -> tuple[int, ...]:
    """The own inputs of `take`: rows of x, or, along the first axis, of the index."""
    return (0,) if attrs["axis"] != 0 else (1,)


# The rules.                                     dx = vjp(dy, y, x, …)
_SLICE = register("slice", _infer_slice, _part_vjp, rowwise=_keeps_rows)
_PLACE = register("place", _infer_slice, _place_vjp, rowwise=_keeps_rows)
_CONCATENATE = register(
    "concatenate",
    _infer_concatenate,
    *[_part_of(i) for i in range(MAX_PARTS)],
    rowwise=other_axis,
)
_TAKE = register(
    "take",
    _infer_take,
    lambda dy, y, x, index: apply(_TAKE_ADD, dy, index, **y.attrs, n=x.shape[y.attrs["axis"]]),
    rowwise=_first_axis_by_row,
)
_TAKE_ADD: Op = register(
    "take_add",
    _infer_take_add,
    lambda dy, y, x, index: apply(_TAKE, dy, index, axis=y.attrs["axis"]),
    rowwise=lambda attrs: (0,) if attrs["axis"] != 0 else (),
)
_GATHER = register(
    "gather",
    _infer_gather,
    lambda dy, y, x, index: apply(_SCATTER, dy, index, **y.attrs, n=x.shape[y.attrs["axis"]]),
    rowwise=lambda attrs: (0, 1) if attrs["axis"] != 0 else (1,),
)
_SCATTER: Op = register(
    "scatter_add",
    _infer_scatter,
    lambda dy, y, x, index: apply(_GATHER, dy, index, axis=y.attrs["axis"]),
    rowwise=other_axis,
)


def check_index(name: str, index: Tensor, count: int, what: str = "index") -> None:
    """Refuses indices that are out of range."""
    if _core.index_tensor(index, count) is index:
        return
    values = index.data
    if values.size and not (values.min() >= 0 and values.max() < count):
        found = f"{values.min()} to {values.max()}"
        raise ValueError(f"{name}: {what} must be from 0 to {count - 1}, got {found}")


def as_index(name: str, index: TensorLike | Sequence[int], count: int) -> Tensor:
    """Indices into `count` places as a Tensor int64, negative ones counted from the end."""
    found: Tensor | None = _core.index_tensor(index, count)
    if found is not None:
        return found
    values = np.asarray(index)
    if values.size == 0 and values.dtype.kind == "f" and not isinstance(index, np.ndarray | Tensor):
        values = values.astype(np.int64)  # an empty list
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name}: index must be integers, got {values.dtype}")
    if values.size and not (values.min() >= -count and values.max() < count):
        raise IndexError(
            f"{name}: indices go from {values.min()} to {values.max()}, the axis has {count}"
        )
    values = values.astype(np.int64, copy=False)
    if values.size and values.min() < 0:
        values = np.where(values < 0, values + count, values)
    return Tensor(values)


def single_axis(name: str, axis: int, ndim: int) -> int:
    """One axis as a non-negative number."""
    if type(axis) is int and -ndim <= axis < ndim:
        return axis if axis >= 0 else axis + ndim
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{name}: axis must be an integer, got {type_name(axis)}")
    return infer.normalize_axes(name, axis, ndim)[0]


def part(x: Tensor, start: Sequence[int], step: Sequence[int], shape: Sequence[int]) -> Tensor:
    """``y[i] = x[start + step i]`` in every axis; `x` itself where that is all of it."""
    if tuple(shape) == x.shape and all(s == 1 for s in step):
        return x
    more = MAX_AXES - len(start)
    return apply(
        _SLICE, x, start=(*start, *_ZEROS[:more]), step=(*step, *_ONES[:more]), shape=tuple(shape)
    )


@composed
def narrow(x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """``x[..., start : start + length, ...]`` along an axis, counted from 0."""
    attrs = _narrow_attributes(x.shape, axis, start, length)
    return x if attrs is None else apply(_SLICE, x, **attrs)


@lru_cache(maxsize=4096)
def _narrow_attributes(
    shape: tuple[int, ...], axis: int, start: int, length: int
) -> dict[str, Any] | None:
    """Attributes of `slice`; ``None`` where it is all."""
    if length == shape[axis]:
        return None
    first = [0] * len(shape)
    first[axis] = start
    return part_attributes(first, [1] * len(shape), (*shape[:axis], length, *shape[axis + 1 :]))


def concatenate(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors one after another along an axis.

    Args:
        tensors: One or more, of one dtype, equal in shape outside of the axis.
        axis: Which axis.

    Raises:
        TypeError: The dtypes differ.
        ValueError: There is none, or the shapes differ.
    """
    return _joined(axis, *tensors)


@composed
def _joined(axis: int, *tensors: TensorLike) -> Tensor:
    parts = [t if isinstance(t, Tensor) else as_tensor(t) for t in tensors]
    if not parts:
        raise ValueError("concatenate: expects one Tensor or more, got none")
    if () in [p.shape for p in parts]:
        raise ValueError("concatenate: a scalar has no axis; use stack")
    along = single_axis("concatenate", axis, len(parts[0].shape))
    if 1 < len(parts) <= MAX_PARTS:
        return apply(_CONCATENATE, *parts, axis=along)
    while len(parts) > 1:
        groups = [parts[i : i + MAX_PARTS] for i in range(0, len(parts), MAX_PARTS)]
        parts = [apply(_CONCATENATE, *g, axis=along) if len(g) > 1 else g[0] for g in groups]
    return parts[0]


def take(x: TensorLike, index: TensorLike | Sequence[int], axis: int | None = None) -> Tensor:
    """Elements ``x[..., index, ...]`` along an axis, or of `x` flattened.

    Args:
        x: Any dtype.
        index: Integers of any shape, which takes the place of the axis; negative ones count from
            the end.
        axis: Which axis; None for `x` flattened.

    Returns:
        ``[*x.shape[:axis], *index.shape, *x.shape[axis + 1:]]``. The derivative adds up what
        several equal indices give, in the order of the indices.

    Raises:
        IndexError: An index is out of range.
        TypeError: `index` is not of an integer dtype.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    if not x.shape:
        raise ValueError("take: a scalar has no axis")
    along = single_axis("take", axis, len(x.shape))
    chosen = as_index("take", index, x.shape[along])
    if chosen.shape:
        return apply(_TAKE, x, chosen, axis=along)
    y = apply(_TAKE, x, reshape(chosen, (1,)), axis=along)
    return reshape(y, (*x.shape[:along], *x.shape[along + 1 :]))


def gather(x: TensorLike, axis: int, index: TensorLike) -> Tensor:
    """Elements along an axis, another choice for each place: ``y[i, j] = x[i, index[i, j]]``.

    Args:
        x: Any dtype.
        axis: The axis that is indexed (1 in the example).
        index: int64, of the shape of `x` outside of the axis.

    Returns:
        Tensor of the shape of `index`.

    Raises:
        IndexError: An index is out of range.
        TypeError: `index` is not of an integer dtype.
        ValueError: The shapes differ outside of the axis.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    along = single_axis("gather", axis, len(x.shape))
    return apply(_GATHER, x, as_index("gather", index, x.shape[along]), axis=along)


def scatter_add(x: TensorLike, axis: int, index: TensorLike, source: TensorLike) -> Tensor:
    """`x` with numbers added at an index: for each i, j, ``x[i, index[i, j]] += source[i, j]``.

    What falls on one place is added in the order of the index, so results are reproducible.

    Args:
        x: float32, float64 or int64 (where sums wrap around).
        axis: The axis that is indexed (1 in the example).
        index: int64, of the shape of `x` outside of the axis.
        source: Of the shape of `index` and the dtype of `x`.

    Returns:
        A new Tensor of the shape of `x`.

    Raises:
        IndexError: An index is out of range.
        ValueError: The shapes do not fit.
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    along = single_axis("scatter_add", axis, len(x.shape))
    chosen = as_index("scatter_add", index, x.shape[along])
    added = source if isinstance(source, Tensor) else as_tensor(source, like=x)
    return _with_added(x, added, chosen, along)


@composed
def _with_added(x: Tensor, added: Tensor, index: Tensor, axis: int) -> Tensor:
    _fits_index("scatter_add", x.spec, index.spec, axis)
    return x + apply(_SCATTER, added, index, axis=axis, n=x.shape[axis])
