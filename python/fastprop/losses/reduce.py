"""What all losses share: matching targets to predictions, and reducing the losses of rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from fastprop import functional as F
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor

Reduction = Literal["mean", "sum", "none"]
Weights = TensorLike | None


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def predictions(name: str, pred: Any) -> Tensor:
    """`pred` as a float Tensor with a batch axis."""
    if isinstance(pred, tuple | list) and any(isinstance(p, Tensor) for p in pred):
        raise TypeError(
            f"{name}: expects one Tensor of predictions, got {len(pred)}; "
            "write a function (pred, target) -> scalar for a model with several outputs"
        )
    tensor = as_tensor(pred)
    if tensor.dtype.kind != "f":
        raise TypeError(f"{name}: predictions must be float32 or float64, got {tensor.dtype}")
    if not tensor.shape:
        raise ValueError(f"{name}: predictions need a batch axis, got a scalar")
    return tensor


def as_dtype(value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A Tensor of that dtype; converts integers, and arrays (but not Tensors) of another float."""
    if isinstance(value, Tensor):
        return F.cast(value, dtype) if value.dtype.kind == "i" else value
    return Tensor(value, dtype=dtype)


def same_elements(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """True if the shapes differ by a trailing axis of extent 1 at most."""
    return wanted in (shape, (*shape, 1)) or shape == (*wanted, 1)


def targets_like(name: str, pred: Tensor, target: TensorLike, what: str = "targets") -> Tensor:
    """`target` in the dtype and shape of `pred`; never broadcast."""
    tensor = as_dtype(target, pred.dtype)
    if tensor.shape == pred.shape:
        return tensor
    if not same_elements(tensor.shape, pred.shape):
        raise ValueError(
            f"{name}: {what} have shape {tensor.shape}, predictions have {pred.shape}; "
            "they must agree"
        )
    return F.reshape(tensor, pred.shape)


def operands(name: str, pred: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    """Predictions and targets of one shape and dtype; a wrong reduction is refused with them."""
    check_reduction(name, reduction)
    pred = predictions(name, pred)
    return pred, targets_like(name, pred, target)


def reduce_rows(
    name: str,
    rows: Tensor,
    sample_weight: TensorLike | None,
    reduction: Reduction,
    norm: Tensor | None = None,
) -> Tensor:
    """Losses of the rows to the result that the user asked for.

    Args:
        name: The loss, for messages.
        rows: Loss of each row.
        sample_weight: Weight of each row, or None.
        reduction: What to do.
        norm: What each row counts in the mean, if not 1 (cross-entropy with class weights).
    """
    weights = None
    if sample_weight is not None:
        weights = as_dtype(sample_weight, rows.dtype)
        if weights.shape == (*rows.shape, 1):
            weights = F.reshape(weights, rows.shape)
        if weights.shape != rows.shape:
            raise ValueError(
                f"{name}: sample_weight has shape {weights.shape}, expected one weight for each of "
                f"the {rows.shape[0]} rows"
            )
        rows = rows * weights
    if reduction == "none":
        return rows
    if reduction == "sum":
        return F.sum(rows)
    counts = weights if norm is None else norm if weights is None else norm * weights
    if counts is None:
        return F.mean(rows)
    # A batch whose weights are all zero has loss zero, not 0 / 0.
    smallest = float(np.finfo(rows.dtype).tiny)
    return F.sum(rows) / F.maximum(F.sum(counts), smallest)


def check_labels(name: str, labels: Any, classes: int, what: str) -> None:
    """Every label is in [0, classes).

    Raises:
        ValueError: The first that is not, with its index.
    """
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        refuse_first(
            name, what, labels, (labels < 0) | (labels >= classes), f"a label in [0, {classes})"
        )


def refuse_first(name: str, what: str, values: Any, bad: Any, wanted: str) -> None:
    """Raise ``ValueError`` for the first element where `bad` holds, if there is one."""
    if bad.any():
        index = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = ", ".join(str(int(i)) for i in index)
        raise ValueError(f"{name}: {what}[{where}] is {values[index]}, expected {wanted}")
