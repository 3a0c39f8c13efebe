r"""Loss functions of predictions and targets.

Row *i* of a batch has the loss :math:`\ell_i`, the mean over the elements of the row. With weights
:math:`w_i`, the reductions are

- ``"mean"``: :math:`\sum_i w_i \ell_i / \sum_i w_i`, which is the mean over everything without
  weights;
- ``"sum"``: :math:`\sum_i w_i \ell_i`, where :math:`\ell_i` is the *sum* over the elements of the
  row;
- ``"none"``: :math:`w_i \ell_i`, shape ``[rows]``.

Predictions are float Tensors whose first axis is the batch. Targets have the shape of the
predictions, up to a trailing axis of extent 1; integers are converted. Nothing is ever broadcast:
other shapes are a ``ValueError`` that names the loss, both shapes, and what was wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.losses.reduce import (
    Reduction,
    as_dtype,
    check_labels,
    check_positive,
    check_reduction,
    predictions,
    reduce_rows,
    targets_like,
)

Weights = TensorLike | None


def mse(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean squared error, :math:`(y - t)^2`."""
    check_reduction("mse", reduction)
    pred = predictions("mse", pred)
    rows = F.mse_rows(pred, targets_like("mse", pred, target), mean=reduction != "sum")
    return reduce_rows("mse", rows, sample_weight, reduction)


def mae(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean absolute error, :math:`|y - t|`."""
    check_reduction("mae", reduction)
    pred = predictions("mae", pred)
    rows = F.mae_rows(pred, targets_like("mae", pred, target), mean=reduction != "sum")
    return reduce_rows("mae", rows, sample_weight, reduction)


def huber(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    delta: float = 1.0,
) -> Tensor:
    r"""Half the squared error up to ``delta``, a line from there on (Huber, 1964).

    With :math:`d = y - t`,

    .. math:: \tfrac12 d^2 \text{ where } |d| \le \delta,
        \text{ else } \delta (|d| - \tfrac12 \delta)
    """
    check_reduction("huber", reduction)
    check_positive("huber", "delta", delta)
    pred = predictions("huber", pred)
    target = targets_like("huber", pred, target)
    rows = F.huber_rows(pred, target, delta=delta, mean=reduction != "sum")
    return reduce_rows("huber", rows, sample_weight, reduction)


def hinge(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Hinge loss, :math:`\max(0, 1 - t y)`, for targets :math:`\pm 1`."""
    check_reduction("hinge", reduction)
    pred = predictions("hinge", pred)
    rows = F.hinge_rows(pred, targets_like("hinge", pred, target), mean=reduction != "sum")
    return reduce_rows("hinge", rows, sample_weight, reduction)


def poisson_nll(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    r"""Negative log-likelihood of counts :math:`t` with the predicted Poisson rate.

    :math:`e^y - t y` if the prediction is the rate's logarithm (``log_input``), else
    :math:`y - t \ln(y + \epsilon)`. ``full`` adds Stirling's approximation of :math:`\ln t!` where
    :math:`t > 1`, which does not change the gradient.
    """
    check_reduction("poisson_nll", reduction)
    check_positive("poisson_nll", "eps", eps)
    pred = predictions("poisson_nll", pred)
    target = targets_like("poisson_nll", pred, target)
    rows = F.poisson_nll_rows(
        pred, target, log_input=log_input, full=full, eps=eps, mean=reduction != "sum"
    )
    return reduce_rows("poisson_nll", rows, sample_weight, reduction)


def gaussian_nll(
    pred: TensorLike,
    target: TensorLike,
    var: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    full: bool = False,
    eps: float = 1e-6,
) -> Tensor:
    r"""Negative log-likelihood of a normal distribution with predicted mean and variance.

    .. math:: \tfrac12 \left( \ln v + (y - t)^2 / v \right), \quad v = \max(\mathrm{var}, \epsilon)

    ``full`` adds :math:`\tfrac12 \ln 2\pi`. Nix & Weigend, "Estimating the mean and variance of the
    target probability distribution", ICNN 1994.

    Args:
        pred: Means.
        target: Targets.
        var: Variances: the shape of the means, or one for each row.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        full: Add the constant.
        eps: Least variance.

    As the loss of a Trainer it takes a model whose ``forward`` returns ``(mean, variance)``.
    """
    check_reduction("gaussian_nll", reduction)
    check_positive("gaussian_nll", "eps", eps)
    pred = predictions("gaussian_nll", pred)
    target = targets_like("gaussian_nll", pred, target)
    rows = F.gaussian_nll_rows(
        pred, target, _variance(pred, var), full=full, eps=eps, mean=reduction != "sum"
    )
    return reduce_rows("gaussian_nll", rows, sample_weight, reduction)


def _variance(pred: Tensor, var: TensorLike) -> Tensor:
    tensor = as_dtype(var, pred.dtype)
    if not tensor.symbolic and tensor.size and np.min(tensor.data) < 0:
        raise ValueError(f"gaussian_nll: var must not be negative, got {np.min(tensor.data)}")
    one_per_row = (*pred.shape[:-1], 1)
    if tensor.shape == pred.shape[:-1] and len(pred.shape) > 1:
        return F.reshape(tensor, one_per_row)
    if tensor.shape == one_per_row and len(pred.shape) > 1:
        return tensor
    return targets_like("gaussian_nll", pred, tensor, "variances")


def binary_cross_entropy(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    r"""Cross-entropy of independent yes-or-no outputs, from logits.

    .. math:: -p\, t \ln \sigma(y) - (1 - t) \ln(1 - \sigma(y))

    Args:
        pred: Logits: the layer before must not have a sigmoid.
        target: Probabilities in [0, 1].
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        pos_weight: :math:`p`, the weight of positive targets: a number, or one for each column.
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    pred = predictions(name, pred)
    target = targets_like(name, pred, target)
    weight = None if pos_weight is None else _positive_weight(pred, pos_weight)
    rows = F.binary_cross_entropy_rows(pred, target, pos_weight=weight, mean=reduction != "sum")
    return reduce_rows(name, rows, sample_weight, reduction)


def _positive_weight(pred: Tensor, pos_weight: TensorLike) -> Tensor:
    weight = as_dtype(pos_weight, pred.dtype)
    columns = pred.shape[-1] if pred.ndim > 1 else 1
    if weight.shape not in ((), (1,), (columns,)):
        raise ValueError(
            f"binary_cross_entropy: pos_weight has shape {weight.shape}, expected a number or "
            f"({columns},), one for each column"
        )
    _check_weights("binary_cross_entropy", "pos_weight", weight)
    return F.reshape(weight, ()) if weight.shape == (1,) else weight


def _check_weights(name: str, parameter: str, weight: Tensor) -> None:
    if not weight.symbolic and not bool(np.all(np.isfinite(weight.data) & (weight.data >= 0))):
        raise ValueError(f"{name}: {parameter} must be finite and not negative, got {weight.data}")


def cross_entropy(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    class_weight: TensorLike | None = None,
) -> Tensor:
    r"""Softmax and cross-entropy in one, from logits.

    .. math:: -\sum_j q_j \ln \mathrm{softmax}(y)_j, \quad
        q_j = c_j \left( (1 - s)\, t_j + s / C \right)

    where :math:`t` is the row's distribution (for a label, 1 there and 0 elsewhere), :math:`c` the
    class weights and :math:`s` the label smoothing (Szegedy et al., CVPR 2016). As in PyTorch, the
    mean over rows with *labels* is weighted: it divides by the sum of the labels' class weights.

    Args:
        pred: Logits ``[rows, classes]``: the layer before must not have a softmax.
        target: Integer labels ``[rows]`` in [0, classes), or probabilities ``[rows, classes]``.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        label_smoothing: :math:`s` in [0, 1].
        class_weight: :math:`c`, one weight for each class.

    Raises:
        ValueError: Shapes that do not fit, a label out of range, a smoothing outside [0, 1].
        TypeError: Labels that are not integers.
    """
    name = "cross_entropy"
    check_reduction(name, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing must be in [0, 1], got {label_smoothing}")
    pred = predictions(name, pred)
    if pred.ndim != 2:
        raise ValueError(f"{name}: predictions must be [rows, classes], got shape {pred.shape}")
    target = _class_targets(pred, target)
    weight = None if class_weight is None else _class_weight(pred, class_weight)
    rows = F.cross_entropy_rows(pred, target, class_weight=weight, label_smoothing=label_smoothing)
    norm = None
    if weight is not None and target.dtype.kind == "i":
        norm = F.gather_rows(weight, target)
    return reduce_rows(name, rows, sample_weight, reduction, norm)


def _class_targets(pred: Tensor, target: TensorLike) -> Tensor:
    """int64 labels [rows], or probabilities of the shape and dtype of `pred`."""
    rows, classes = pred.shape
    given = target if isinstance(target, Tensor) else as_tensor(np.asarray(target))
    if given.shape == pred.shape and not (classes == 1 and given.dtype.kind == "i"):
        return as_dtype(target if given.dtype.kind == "f" else given, pred.dtype)
    if given.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"cross_entropy: targets have shape {given.shape}; predictions of shape {pred.shape} "
            f"want labels ({rows},) or probabilities {pred.shape}"
        )
    if given.dtype.kind != "i":
        raise TypeError(f"cross_entropy: labels must be integers, got {given.dtype}")
    labels = given if given.ndim == 1 else F.reshape(given, (rows,))
    if not labels.symbolic:
        check_labels("cross_entropy", labels.data, classes, "target")
    return labels


def _class_weight(pred: Tensor, class_weight: Any) -> Tensor:
    weight = as_dtype(class_weight, pred.dtype)
    if weight.shape != pred.shape[1:]:
        raise ValueError(
            f"cross_entropy: class_weight has shape {weight.shape}, expected {pred.shape[1:]}, "
            "one for each class"
        )
    _check_weights("cross_entropy", "class_weight", weight)
    return weight
