"""Products of matrices, and the dense layer y = x W + b."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fastprop.graph import infer
from fastprop.graph.op import Spec, apply, register
from fastprop.graph.ops_elementwise import as_operands
from fastprop.graph.ops_reduction import _SUM, broadcast_to
from fastprop.graph.ops_shape import _RESHAPE, reshape
from fastprop.graph.recipe import composed
from fastprop.graph.tensor import Tensor, TensorLike

Shape = tuple[int, ...]


def infer_dense(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x [..., in], W [in, out], b [out] or none → y [..., out]."""
    x, W, *rest = specs
    dtype = infer.float_dtype(name, specs)
    if len(W.shape) != 2 or W.batched:
        raise ValueError(f"{name}: W must have the shape [in, out], got {W.shape}")
    if len(x.shape) < 2:
        raise ValueError(f"{name}: x must have the shape [..., {W.shape[0]}], got {x.shape}")
    if x.shape[-1] != W.shape[0]:
        raise ValueError(f"{name}: x has {x.shape[-1]} columns, W expects {W.shape[0]}")
    if rest and rest[0].shape != W.shape[1:]:
        raise ValueError(f"{name}: b has shape {rest[0].shape}, W gives {W.shape[1]} columns")
    return Spec((*x.shape[:-1], W.shape[1]), dtype, x.batched)


def infer_dense_weights(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    """x [..., in], dz [..., out] → dW [in, out]."""
    x, dz = specs
    dtype = infer.float_dtype(name, specs)
    if len(x.shape) < 2 or x.shape[:-1] != dz.shape[:-1] or x.batched != dz.batched:
        raise ValueError(
            f"{name}: x and dz must have the same axes but the last, got {x.shape} and {dz.shape}"
        )
    return Spec((x.shape[-1], dz.shape[-1]), dtype)


def _matmul(a: Tensor, b: Tensor, ta: bool = False, tb: bool = False) -> Tensor:
    return apply(_MATMUL, a, b, transpose_a=ta, transpose_b=tb)


def _matmul_da(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    ta, tb = y.attrs["transpose_a"], y.attrs["transpose_b"]
    return _matmul(b, dy, ta=tb, tb=True) if ta else _matmul(dy, b, tb=not tb)


def _matmul_db(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    ta, tb = y.attrs["transpose_a"], y.attrs["transpose_b"]
    if a.ndim > 2 and b.ndim == 2:  # the same b for all leading indices: summed over all of them
        return apply(_WEIGHTS, dy, a) if tb else apply(_WEIGHTS, a, dy)
    return _matmul(dy, a, ta=True, tb=ta) if tb else _matmul(a, dy, ta=not ta)


def _dense_db(dy: Tensor, y: Tensor, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    return apply(_SUM, dy, axes=(1 << (len(dy.shape) - 1)) - 1, keepdims=False)


_MATMUL = register("matmul", infer.matmul, _matmul_da, _matmul_db, rowwise=(0,))
_WEIGHTS = register(
    "dense_backward_weights",
    infer_dense_weights,
    lambda g, dW, x, dz: _matmul(dz, g, tb=True),
    lambda g, dW, x, dz: _matmul(x, g),
)
_DENSE = register(
    "dense",
    infer_dense,
    lambda dy, y, x, W, *b: _matmul(dy, W, tb=True),
    lambda dy, y, x, W, *b: apply(_WEIGHTS, x, dy),
    _dense_db,
    rowwise=(0,),
)


def transposed_matmul(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    """Product of matrices of which either may lie transposed; equal leading axes, or none."""
    return _matmul(a, b, transpose_a, transpose_b)


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """Matrix product; also ``a @ b``.

    Args:
        a: ``[..., m, k]``, or ``[k]``, which counts as one row.
        b: ``[..., k, n]``, or ``[k]``, which counts as one column. Leading axes broadcast.

    Returns:
        ``[..., m, n]``, without the axis of an operand that had only one.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    a, b = as_operands(a, b)
    if len(a.shape) == 2 and len(b.shape) == 2:
        return _matmul(a, b)
    return _product(a, b)


@composed
def _product(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: operands need an axis, got {a.shape} and {b.shape}")
    as_row, as_column, shape = _vector_shapes(a.shape, b.shape)
    row = a if as_row is None else apply(_RESHAPE, a, shape=as_row)
    column = b if as_column is None else apply(_RESHAPE, b, shape=as_column)
    if len(column.shape) > 2 and column.shape[:-2] != row.shape[:-2]:
        row, column = _broadcast_leading(row, column)
    y = apply(_MATMUL, row, column, transpose_a=False, transpose_b=False)
    if as_row is None and as_column is None:
        return y
    return apply(_RESHAPE, y, shape=y.shape[:-2] + shape)


@lru_cache(maxsize=4096)
def _vector_shapes(a: Shape, b: Shape) -> tuple[Shape | None, Shape | None, Shape]:
    """What vectors count as, None for the other operands, and the last axes of their product."""
    row, column = len(a) == 1, len(b) == 1
    shape = (() if row else a[-2:-1]) + (() if column else b[-1:])
    return (1, *a) if row else None, (*b, 1) if column else None, shape


def _broadcast_leading(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the leading axes that theirs broadcast to; a `b` without any is read as it is."""
    if all(n == 1 for n in b.shape[:-2]) and a.ndim >= b.ndim:
        return a, reshape(b, b.shape[-2:])
    leads = [Spec(t.shape[:-2], t.dtype, t.batched and t.ndim > 2) for t in (a, b)]
    try:
        lead, _ = infer.broadcast_shapes("matmul", leads)
    except ValueError:
        raise ValueError(
            f"matmul: leading axes of {a.shape} and {b.shape} do not broadcast"
        ) from None
    wide = [(*lead, *t.shape[-2:]) for t in (a, b)]
    return (
        a if a.shape == wide[0] else broadcast_to(a, wide[0]),
        b if b.shape == wide[1] else broadcast_to(b, wide[1]),
    )


def dense(x: TensorLike, W: TensorLike, b: TensorLike | None = None) -> Tensor:
    r"""The dense layer, :math:`y = x W + b`.

    Args:
        x: ``[..., in]``.
        W: ``[in, out]``.
        b: ``[out]``, or none.

    Returns:
        ``[..., out]``.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    return _dense(x, W) if b is None else _dense(x, W, b)


@composed
def _dense(*values: TensorLike) -> Tensor:
    operands = as_operands(*values)
    if len(operands[0].shape) != 1:
        return apply(_DENSE, *operands, activation=0, p0=0.0, p1=0.0)
    operands[0] = reshape(operands[0], (1, *operands[0].shape))
    y = apply(_DENSE, *operands, activation=0, p0=0.0, p1=0.0)
    return reshape(y, y.shape[1:])
