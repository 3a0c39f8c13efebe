"""Products of vectors and tensors, made of the matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastprop.graph.op import apply
from fastprop.graph.ops_diagonal import diagonal
from fastprop.graph.ops_elementwise import as_operands, mul
from fastprop.graph.ops_linear import matmul, transposed_matmul
from fastprop.graph.ops_reduction import broadcast_to
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import _RESHAPE, reshape, transpose
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike
from fastprop.registry import type_name


def dot(x: TensorLike, y: TensorLike) -> Tensor:
    r"""Inner product of two vectors, :math:`\sum_i x_i y_i`.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: They are not two vectors of one length.
    """
    return _dot(x, y)


@composed
def _dot(x: TensorLike, y: TensorLike) -> Tensor:
    x, y = as_operands(x, y)
    if len(x.shape) != 1 or x.shape != y.shape:
        raise ValueError(f"dot: expects two vectors of one length, got {x.shape} and {y.shape}")
    return matmul(x, y)


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    r"""Outer product of two vectors, :math:`z_{ij} = x_i y_j`.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: They are not two vectors.
    """
    return _outer(x, y)


@composed
def _outer(x: TensorLike, y: TensorLike) -> Tensor:
    x, y = as_operands(x, y)
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ValueError(f"outer: expects two vectors, got {x.shape} and {y.shape}")
    return mul(apply(_RESHAPE, x, shape=(*x.shape, 1)), y)


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Products summed over indices, as the subscripts say: ``einsum("bij,bjk->bik", a, b)``.

    Pairs of operands become matrix products, for three operands and more in the order that
    :func:`numpy.einsum_path` finds cheapest.

    Args:
        subscripts: A letter for each axis of each operand, ``...`` for axes that broadcast; after
            ``->`` the axes of the result, by default those that appear once, in alphabetic order.
        operands: float32 or float64 Tensors of one dtype.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The subscripts do not fit the operands.
    """
    return _einsum(subscripts, *operands)


@composed
def _einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    tensors = list(as_operands(*operands))
    labels, output = _parse(subscripts, tuple([len(t.shape) for t in tensors]))
    sizes = _sizes(labels, tensors)
    for label in output:
        if label not in sizes:
            raise ValueError(f"einsum: {_name(label)} of the result is in no operand")
    terms = [_without_repeats(t, own, sizes) for t, own in zip(tensors, labels, strict=True)]
    for i, j in _pairs(subscripts, tensors):
        b, a = terms.pop(j), terms.pop(i)
        needed = {*output, *(label for _, own in terms for label in own)}
        terms.append(_contract(_summed(a, {*needed, *b[1]}), _summed(b, {*needed, *a[1]}), needed))
    value, own = _summed(terms[0], set(output))
    return transpose(value, [own.index(label) for label in output])


Label = str
Term = tuple[Tensor, list[Label]]


def _name(label: Label) -> str:
    return f"index {label!r}" if len(label) == 1 else "an axis of '...'"


@lru_cache(maxsize=256)
def _parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[list[Label]], list[Label]]:
    """A list of labels for each operand and for the result; ``...`` becomes ``...1, ...0``."""
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {type_name(subscripts)}")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    pieces = left.split(",")
    if len(pieces) != len(ranks):
        raise ValueError(f"einsum: {subscripts!r} names {len(pieces)} operands, got {len(ranks)}")
    labels = [_letters(subscripts, piece, rank) for piece, rank in zip(pieces, ranks, strict=True)]
    dots = max(([label for label in own if len(label) > 1] for own in labels), key=len, default=[])
    if arrow:
        if right.count("...") == 0 and dots:
            dots = []
        return labels, _letters(subscripts, right, len(right.replace("...", "")) + len(dots), dots)
    flat = [label for own in labels for label in own if len(label) == 1]
    return labels, [*dots, *sorted(label for label in set(flat) if flat.count(label) == 1)]


def _letters(
    subscripts: str, piece: str, rank: int, dots: Sequence[Label] | None = None
) -> list[Label]:
    before, ellipsis, after = piece.partition("...")
    if not (before + after).isalpha() and before + after:
        raise ValueError(f"einsum: {subscripts!r} may hold letters, commas, '...' and '->' only")
    free = rank - len(before) - len(after)
    if free < 0 or (free > 0 and not ellipsis):
        raise ValueError(
            f"einsum: {piece!r} of {subscripts!r} stands for {len(before + after)} axes, "
            f"the operand has {rank}"
        )
    extra = [f"...{i}" for i in reversed(range(free))] if dots is None else list(dots)
    found = [*before, *extra, *after]
    if dots is not None and len(set(found)) != len(found):
        raise ValueError(f"einsum: the result of {subscripts!r} names an index twice")
    return found


def _sizes(labels: Sequence[Sequence[Label]], tensors: Sequence[Tensor]) -> dict[Label, int]:
    sizes: dict[Label, int] = {}
    for own, tensor in zip(labels, tensors, strict=True):
        for label, n in zip(own, tensor.shape, strict=True):
            known = sizes.setdefault(label, n)
            if known != n and len(label) > 1 and 1 in (known, n):
                sizes[label] = max(known, n) if 0 not in (known, n) else 0
            elif known != n:
                raise ValueError(f"einsum: {_name(label)} has extents {known} and {n}")
    return sizes


def _pairs(subscripts: str, tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Positions of the two operands of each contraction; its result goes to the end."""
    if len(tensors) < 3:
        return [(0, 1)] * (len(tensors) - 1)
    shapes: list[Any] = [np.broadcast_to(np.zeros(()), t.shape) for t in tensors]
    path = np.einsum_path(subscripts, *shapes, optimize="greedy")[0][1:]
    steps = [tuple(sorted(step)) for step in path]
    if any(len(step) != 2 for step in steps):  # all of them at once, where NumPy sees no gain
        return [(0, 1)] * (len(tensors) - 1)
    return [(step[0], step[1]) for step in steps]


def _without_repeats(tensor: Tensor, labels: list[Label], sizes: dict[Label, int]) -> Term:
    """The diagonal where one operand has a label twice, and ``...`` axes at full extent."""
    own = list(labels)
    for label in dict.fromkeys(labels):
        while own.count(label) > 1:
            i = own.index(label)
            j = own.index(label, i + 1)
            rest = [k for k in range(tensor.ndim) if k not in (i, j)]
            tensor = diagonal(transpose(tensor, [*rest, i, j]))
            own = [*(own[k] for k in rest), label]
    shape = tuple(sizes[label] for label in own)
    return (tensor if tensor.shape == shape else broadcast_to(tensor, shape)), own


def _summed(term: Term, needed: set[Label]) -> Term:
    """Without the axes that nobody else has or wants."""
    tensor, own = term
    axes = tuple(i for i, label in enumerate(own) if label not in needed)
    if not axes:
        return term
    return reduce_sum(tensor, axes), [label for label in own if label in needed]


def _contract(left: Term, right: Term, needed: set[Label]) -> Term:
    """One product of matrices, for every index that both have and the result keeps."""
    (a, la), (b, lb) = left, right
    inner = [label for label in la if label in lb and label not in needed]
    if not inner:
        return _multiply(left, right)
    both = [label for label in la if label in lb and label in needed]
    rows = [label for label in la if label not in lb]
    columns = [label for label in lb if label not in la]
    ma, flip_a = _as_matrix(a, la, both, rows, inner)
    mb, flip_b = _as_matrix(b, lb, both, inner, columns)
    y = transposed_matmul(ma, mb, flip_a, flip_b)
    out = [*both, *rows, *columns]
    extent = {**dict(zip(la, a.shape, strict=True)), **dict(zip(lb, b.shape, strict=True))}
    return reshape(y, tuple(extent[label] for label in out)), out


def _multiply(left: Term, right: Term) -> Term:
    """A product without a sum: axes brought to one order and broadcast."""
    if len(right[1]) > len(left[1]):
        left, right = right, left
    (a, la), (b, lb) = left, right
    out = [*la, *(label for label in lb if label not in la)]
    b = transpose(b, sorted(range(b.ndim), key=lambda i: out.index(lb[i])))
    extent = dict(zip(sorted(lb, key=out.index), b.shape, strict=True))
    wide_a = reshape(a, (*a.shape, *[1] * (len(out) - a.ndim)))
    return wide_a * reshape(b, tuple(extent.get(label, 1) for label in out)), out


def _as_matrix(
    x: Tensor, own: list[Label], both: list[Label], rows: list[Label], columns: list[Label]
) -> tuple[Tensor, bool]:
    """`x` as [both, rows, columns], or with the last two exchanged where it lies so already."""
    flipped = bool(rows) and bool(columns) and own == [*both, *columns, *rows]
    order = own if flipped else [*both, *rows, *columns]
    y = transpose(x, [own.index(label) for label in order])
    extent = dict(zip(own, x.shape, strict=True))
    groups = (columns, rows) if flipped else (rows, columns)
    shape = [math.prod(extent[label] for label in group) for group in groups]
    if both:
        shape.insert(0, math.prod(extent[label] for label in both))
    return reshape(y, tuple(shape)), flipped
