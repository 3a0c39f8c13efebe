"""Ops on data: rows picked by index, and counts of right answers."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.graph import infer
from fastprop.graph.op import Spec, Vjp, apply, register
from fastprop.graph.ops_index import check_index, take
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def undifferentiable(op: str, operand: str) -> Vjp:
    """A rule for an operand whose derivative is not zero but not offered: an error, not silence."""

    def rule(dy: Tensor, y: Tensor, *inputs: Tensor) -> Tensor:
        raise RuntimeError(
            f"{op}: there is no derivative by {operand}; pass it without requires_grad (detach it)"
        )

    return rule


def infer_labels(name: str, scores: Spec, labels: Spec) -> Spec:
    """scores [rows, classes], labels int64 [rows] → one number a row."""
    dtype = infer.float_dtype(name, [scores])
    if len(scores.shape) != 2:
        raise ValueError(f"{name}: expects scores [rows, classes], got shape {scores.shape}")
    if labels.dtype != infer.INT64:
        raise TypeError(f"{name}: labels must be int64, got {labels.dtype}")
    if labels.shape != scores.shape[:1]:
        raise ValueError(
            f"{name}: expects one label a row, shape {scores.shape[:1]}, got {labels.shape}"
        )
    if labels.batched != scores.batched:
        raise ValueError(f"{name}: only one of scores and labels varies with the batch")
    return Spec(scores.shape[:1], dtype, scores.batched)


def infer_top_k(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    if not 1 <= attrs["k"] <= specs[0].shape[-1]:
        raise ValueError(
            f"{name}: k must be from 1 to {specs[0].shape[-1]} classes, got {attrs['k']}"
        )
    return infer_labels(name, *specs)


def infer_binary(name: str, specs: Sequence[Spec], attrs: infer.Attrs) -> Spec:
    out = infer.same_shape(name, specs, attrs)
    if not out.shape:
        raise ValueError(f"{name}: a scalar has no rows")
    return Spec(out.shape[:1], out.dtype, out.batched)


_TOP_K = register("top_k_correct", infer_top_k, rowwise=(0, 1))
_BINARY = register("binary_correct", infer_binary, rowwise=(0, 1))


def gather_rows(source: TensorLike, index: TensorLike) -> Tensor:
    """Rows ``source[index]``.

    Args:
        source: ``[N, ...]``, any dtype.
        index: int64 ``[rows]``, each from 0 to N - 1.

    Raises:
        ValueError: Not an array of rows, or an index out of range.
    """
    source, index = as_tensor(source), as_tensor(index)
    if not source.shape or source.batched:
        raise ValueError(f"gather_rows: source must be an array of rows, got shape {source.shape}")
    if index.dtype != infer.INT64 or index.ndim != 1:
        raise ValueError(
            "gather_rows: index must be int64 with one axis, got "
            f"{index.dtype} of shape {index.shape}"
        )
    if not index.symbolic:
        check_index("gather_rows", index, source.shape[0])
    return take(source, index, 0)


def top_k_correct(scores: TensorLike, labels: TensorLike, k: int = 1) -> Tensor:
    """1 for each row whose label is among its `k` largest scores, else 0.

    Of equal scores the one with the lower index counts as larger, as in :func:`argmax`.

    Args:
        scores: ``[rows, classes]``.
        labels: int64 ``[rows]``.
        k: From 1 to the number of classes.

    Raises:
        TypeError: `labels` are not integers.
        ValueError: The shapes do not fit, or `k` is out of range.
    """
    return apply(_TOP_K, as_tensor(scores), as_tensor(labels), k=int(k))


def binary_correct(scores: TensorLike, target: TensorLike, threshold: float = 0.0) -> Tensor:
    """Share of each row's elements with ``(scores > threshold) == (target > 0.5)``.

    Args:
        scores: ``[rows, ...]``; logits, or probabilities with a threshold of 0.5.
        target: The same shape and dtype; 0 or 1.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes differ.
    """
    scores = as_tensor(scores)
    return apply(_BINARY, scores, as_tensor(target, like=scores), threshold=float(threshold))
