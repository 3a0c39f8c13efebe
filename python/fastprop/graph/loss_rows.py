"""The losses as functions on Tensors, one number a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastprop.graph import ops_loss as ops
from fastprop.graph.op import Op, apply
from fastprop.graph.ops_elementwise import log, maximum, square
from fastprop.graph.ops_index import check_index
from fastprop.graph.ops_reduction import mean as reduce_mean
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import reshape, stop_gradient
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def _rows(op: Op, pred: TensorLike, target: TensorLike, *aux: Tensor, **attrs: Any) -> Tensor:
    pred = as_tensor(pred)
    return apply(op, pred, as_tensor(target, like=pred), *aux, **attrs)


def mse_rows(pred: TensorLike, target: TensorLike, mean: bool = True) -> Tensor:
    """Squared error ``(pred - target)**2`` of each row.

    Args:
        pred: ``[rows, ...]``, float32 or float64.
        target: The same shape and dtype.
        mean: A row's loss is the mean of its elements, else their sum.

    Returns:
        ``[rows]``.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes differ.
    """
    return _rows(ops.MSE, pred, target, mean=mean)


def mae_rows(pred: TensorLike, target: TensorLike, mean: bool = True) -> Tensor:
    """Absolute error ``|pred - target|`` of each row, of derivative 0 at 0. As :func:`mse_rows`."""
    return _rows(ops.MAE, pred, target, mean=mean)


def huber_rows(
    pred: TensorLike, target: TensorLike, delta: float = 1.0, mean: bool = True
) -> Tensor:
    """Half the squared error up to `delta`, a line beyond it (Huber 1964). As :func:`mse_rows`.

    Raises:
        ValueError: `delta` is not positive.
    """
    if not delta > 0:
        raise ValueError(f"huber: delta must be positive, got {delta}")
    return _rows(ops.HUBER, pred, target, mean=mean, delta=float(delta))


def hinge_rows(pred: TensorLike, target: TensorLike, mean: bool = True) -> Tensor:
    """``max(0, 1 - target * pred)`` for targets of -1 and 1. As :func:`mse_rows`."""
    return _rows(ops.HINGE, pred, target, mean=mean)


def poisson_nll_rows(
    pred: TensorLike,
    target: TensorLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    mean: bool = True,
) -> Tensor:
    """Negative log-likelihood of counts under Poisson's distribution. As :func:`mse_rows`.

    Args:
        pred: ``[rows, ...]``; the logarithm of the rate, or the rate itself.
        target: Counts.
        log_input: ``exp(pred) - target * pred``, else ``pred - target * log(pred + eps)``.
        full: With Stirling's approximation of ``log(target!)`` for targets above 1.
        eps: Keeps the logarithm finite at a rate of 0.
        mean: A row's loss is the mean of its elements, else their sum.
    """
    attrs = {"mean": mean, "log_input": bool(log_input), "full": bool(full), "eps": float(eps)}
    return _rows(ops.POISSON, pred, target, **attrs)


def gaussian_nll_rows(
    pred: TensorLike,
    target: TensorLike,
    var: TensorLike,
    full: bool = False,
    eps: float = 1e-6,
    mean: bool = True,
) -> Tensor:
    """``(log(var) + (pred - target)**2 / var) / 2`` of each row (Nix & Weigend 1994).

    Args:
        pred: ``[rows, ...]``, the expectation.
        target: The same shape and dtype.
        var: The variance; broadcasts to `pred`. Below `eps` it counts as `eps`, but its
            derivative passes through, as PyTorch's does.
        full: With the constant ``log(2 pi) / 2``.
        eps: Least variance.
        mean: A row's loss is the mean of its elements, else their sum.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit.
    """
    pred = as_tensor(pred)
    target, var = as_tensor(target, like=pred), as_tensor(var, like=pred)
    ops.infer_rows("gaussian_nll", [pred.spec, target.spec], {})
    variance = var + stop_gradient(maximum(var, eps) - var)
    loss = 0.5 * (log(variance) + square(pred - target) / variance)
    if loss.shape != pred.shape:
        raise ValueError(
            f"gaussian_nll: var of shape {var.shape} does not broadcast to {pred.shape}"
        )
    row_size = int(np.prod(pred.shape[1:], dtype=np.int64))
    rows = (reduce_mean if mean else reduce_sum)(reshape(loss, (pred.shape[0], row_size)), 1)
    return rows + 0.5 * math.log(2 * math.pi) * (1 if mean else row_size) if full else rows


def binary_cross_entropy_rows(
    logits: TensorLike, target: TensorLike, pos_weight: TensorLike | None = None, mean: bool = True
) -> Tensor:
    r"""Binary cross-entropy of each row, on logits and so without overflow. As :func:`mse_rows`.

    .. math:: w t \log(1 + e^{-x}) + (1 - t) \log(1 + e^x)

    Args:
        logits: ``[rows, ...]``.
        target: Probabilities or 0 and 1, the same shape and dtype.
        pos_weight: Weight :math:`w` of positives: one, or one for each index of the last axis.
        mean: A row's loss is the mean of its elements, else their sum.

    Raises:
        RuntimeError: A derivative by `pos_weight` is asked for.
    """
    logits = as_tensor(logits)
    aux = [] if pos_weight is None else [as_tensor(pos_weight, like=logits)]
    aux = [reshape(w, 1) if w.ndim == 0 else w for w in aux]
    return _rows(ops.BCE, logits, target, *aux, mean=mean)


def cross_entropy_rows(
    logits: TensorLike,
    target: TensorLike,
    class_weight: TensorLike | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Cross-entropy of softmax of each row, on shifted logits and so without overflow.

    .. math:: -\sum_j q_j \log \mathrm{softmax}(x)_j, \quad q_j = w_j ((1 - s) t_j + s / C)

    Args:
        logits: ``[rows, classes]``.
        target: int64 labels ``[rows]``, or probabilities :math:`t`, ``[rows, classes]``.
        class_weight: :math:`w`, ``[classes]``.
        label_smoothing: :math:`s`, from 0 to 1 (Szegedy et al. 2016).

    Returns:
        ``[rows]``; NaN for a label that is out of range while a Program runs.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, a label or `label_smoothing` is out of range.
        RuntimeError: A derivative by `class_weight` is asked for.
    """
    logits = as_tensor(logits)
    target = as_tensor(target) if _holds_integers(target) else as_tensor(target, like=logits)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must be from 0 to 1, got {label_smoothing}"
        )
    aux = [] if class_weight is None else [as_tensor(class_weight, like=logits)]
    attrs = {"label_smoothing": float(label_smoothing)}
    if target.dtype.kind == "f":
        return _rows(ops.CROSS_ENTROPY_PROBS, logits, target, *aux, **attrs)
    if not target.symbolic and logits.ndim == 2:
        check_index("cross_entropy", target, logits.shape[1], what="labels")
    return _rows(ops.CROSS_ENTROPY, logits, target, *aux, **attrs)


def _holds_integers(value: TensorLike) -> bool:
    kind = (
        value.dtype.kind if isinstance(value, Tensor | np.ndarray) else np.asarray(value).dtype.kind
    )
    return kind in "iub"
