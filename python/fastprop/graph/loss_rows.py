"""The losses as functions on Tensors, one number a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastprop.checks import real_number
from fastprop.graph import ops_loss as ops
from fastprop.graph.op import Op, apply
from fastprop.graph.ops_elementwise import expm1, log, maximum, pow, square
from fastprop.graph.ops_index import check_index
from fastprop.graph.ops_reduction import mean as reduce_mean
from fastprop.graph.ops_reduction import sum as reduce_sum
from fastprop.graph.ops_shape import reshape, stop_gradient
from fastprop.graph.ops_softmax import log_softmax
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor


def _rows(op: Op, pred: TensorLike, target: TensorLike, *aux: Tensor, **attrs: Any) -> Tensor:
    if not isinstance(pred, Tensor):
        pred = as_tensor(pred)
    if not isinstance(target, Tensor):
        target = as_tensor(target, like=pred)
    return apply(op, pred, target, *aux, **attrs)


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


def log_cosh_rows(pred: TensorLike, target: TensorLike, mean: bool = True) -> Tensor:
    """``log(cosh(pred - target))``, without overflow. As :func:`mse_rows`."""
    return _rows(ops.LOG_COSH, pred, target, mean=mean)


def quantile_rows(
    pred: TensorLike, target: TensorLike, q: TensorLike = 0.5, mean: bool = True
) -> Tensor:
    r"""Pinball loss of each row (Koenker & Bassett 1978), of derivative 0 at 0.

    .. math:: \max(q (t - y), (q - 1) (t - y))

    Args:
        pred: ``[rows, ...]``.
        target: The same shape and dtype.
        q: The quantile, one number or one for each index of the last axis.
        mean: A row's loss is the mean of its elements, else their sum.

    Raises:
        ValueError: The shapes do not fit, or a quantile is not between 0 and 1.
        RuntimeError: A derivative by `q` is asked for.
    """
    pred = as_tensor(pred)
    q = as_tensor(q, like=pred)
    if not q.symbolic and not bool(np.all((q.data > 0) & (q.data < 1))):
        raise ValueError(f"quantile: q must be between 0 and 1, got {q.data}")
    return _rows(ops.QUANTILE, pred, target, reshape(q, 1) if q.ndim == 0 else q, mean=mean)


def elastic_net_rows(weight: TensorLike, l1: float = 0.0, l2: float = 0.0) -> Tensor:
    """``l1 |w| + l2 w**2``, summed over each row; of derivative 0 at 0.

    Args:
        weight: ``[rows, ...]``, float32 or float64.
        l1: Strength of the first term.
        l2: Strength of the second.

    Returns:
        ``[rows]``.

    Raises:
        TypeError: Not a floating dtype.
        ValueError: There is no axis of rows.
    """
    weight = as_tensor(weight)
    # The op has no target; what stands in its place is not read.
    return apply(ops.ELASTIC_NET, weight, weight, mean=False, l1=float(l1), l2=float(l2))


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


def kl_div_rows(
    pred: TensorLike, target: TensorLike, log_target: bool = False, mean: bool = False
) -> Tensor:
    """Kullback-Leibler divergence ``target * (log(target) - pred)`` of each row.

    Args:
        pred: ``[rows, ...]``, logarithms of probabilities.
        target: Probabilities of the same shape and dtype. Nothing is added where they are 0.
        log_target: The targets are logarithms as well.
        mean: A row's loss is the mean of its elements, else their sum, which is the divergence.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes differ.
    """
    return _rows(ops.KL_DIV, pred, target, mean=mean, log_target=bool(log_target))


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
    if pos_weight is None:
        return _rows(ops.BCE, logits, target, mean=mean)
    logits = as_tensor(logits)
    weight = as_tensor(pos_weight, like=logits)
    weight = reshape(weight, 1) if weight.ndim == 0 else weight
    return _rows(ops.BCE, logits, target, weight, mean=mean)


def binary_focal_rows(
    logits: TensorLike,
    target: TensorLike,
    gamma: float = 2.0,
    alpha: float | None = None,
    mean: bool = True,
) -> Tensor:
    r"""Focal loss of independent yes-or-no outputs (Lin et al. 2017). As :func:`mse_rows`.

    With :math:`p = \sigma(x)`,

    .. math:: -\alpha t (1 - p)^\gamma \log p - (1 - \alpha) (1 - t) p^\gamma \log(1 - p)

    Args:
        logits: ``[rows, ...]``.
        target: Probabilities or 0 and 1, the same shape and dtype.
        gamma: How much less a well predicted element counts, 0 or more.
        alpha: Weight of positives, from 0 to 1; ``None``: all weigh 1.
        mean: A row's loss is the mean of its elements, else their sum.

    Raises:
        ValueError: The shapes differ, or `gamma` or `alpha` is out of range.
    """
    check_focal("binary_focal", gamma, alpha)
    attrs = {"gamma": float(gamma), "alpha": -1.0 if alpha is None else float(alpha)}
    return _rows(ops.BINARY_FOCAL, logits, target, mean=mean, **attrs)


def check_focal(name: str, gamma: float, alpha: float | None = None) -> None:
    """Raise ``ValueError`` for exponents and weights that make no focal loss."""
    real_number(name, "gamma", gamma)
    if alpha is not None:
        real_number(name, "alpha", alpha, 0.0, 1.0, up_to=True)


def focal_rows(
    logits: TensorLike,
    target: TensorLike,
    class_weight: TensorLike | None = None,
    gamma: float = 2.0,
) -> Tensor:
    r"""Focal loss of softmax of each row (Lin et al. 2017).

    .. math:: -\sum_j w_j t_j (1 - p_j)^\gamma \log p_j, \quad p = \mathrm{softmax}(x)

    Args:
        logits: ``[rows, classes]``.
        target: int64 labels ``[rows]``, or probabilities :math:`t`, ``[rows, classes]``.
        class_weight: :math:`w`, ``[classes]``.
        gamma: How much less a well predicted row counts, 0 or more; 0 is cross-entropy.

    Returns:
        ``[rows]``; NaN for a label that is out of range while a Program runs.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, a label or `gamma` is out of range.
        RuntimeError: A derivative by `class_weight` is asked for, with labels.
    """
    check_focal("focal", gamma)
    logits, target = as_tensor(logits), _class_target(logits, target)
    aux = [] if class_weight is None else [as_tensor(class_weight, like=logits)]
    if target.dtype.kind == "i":
        if not target.symbolic and logits.ndim == 2:
            check_index("focal", target, logits.shape[1], what="labels")
        return _rows(ops.FOCAL, logits, target, *aux, gamma=float(gamma))
    specs = [logits.spec, target.spec, *(w.spec for w in aux)]
    ops.infer_probability_rows("focal", specs, {})
    log_p = log_softmax(logits)
    share = target * aux[0] if aux else target
    wrong = maximum(-expm1(log_p), float(np.finfo(logits.dtype).tiny))
    return -reduce_sum(share * pow(wrong, float(gamma)) * log_p, -1)


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
    if not isinstance(logits, Tensor):
        logits = as_tensor(logits)
    target = _class_target(logits, target)
    real_number("cross_entropy", "label_smoothing", label_smoothing, 0.0, 1.0, up_to=True)
    aux = [] if class_weight is None else [as_tensor(class_weight, like=logits)]
    attrs = {"label_smoothing": float(label_smoothing)}
    if target.dtype.kind == "f":
        return _rows(ops.CROSS_ENTROPY_PROBS, logits, target, *aux, **attrs)
    if target._data is not None and len(logits.shape) == 2:
        check_index("cross_entropy", target, logits.shape[1], what="labels")
    return _rows(ops.CROSS_ENTROPY, logits, target, *aux, **attrs)


def _class_target(logits: TensorLike, target: TensorLike) -> Tensor:
    """Labels as they are, probabilities in the dtype of the logits."""
    if isinstance(target, Tensor):
        return target
    if np.asarray(target).dtype.kind in "iub":
        return as_tensor(target)
    return as_tensor(target, like=as_tensor(logits))
