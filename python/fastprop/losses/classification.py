"""Losses of classes: what is predicted is which of several, or yes or no.

Reductions and shapes are described in :mod:`fastprop.losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastprop import functional as F
from fastprop.checks import as_array, real_number
from fastprop.graph.tensor import Tensor, TensorLike, as_tensor
from fastprop.losses.reduce import (
    Reduction,
    Weights,
    as_dtype,
    check_labels,
    check_reduction,
    operands,
    predictions,
    reduce_rows,
)


def hinge(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Hinge loss, :math:`\max(0, 1 - t y)`, of support vector machines.

    Cortes & Vapnik, "Support-vector networks", Machine Learning 20, 1995.

    Args:
        pred: Scores ``[rows, ...]``, float32 or float64.
        target: 1 or -1 for each score.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`.
    """
    pred, target = operands("hinge", pred, target, reduction)
    rows = F.hinge_rows(pred, target, mean=reduction != "sum")
    return reduce_rows("hinge", rows, sample_weight, reduction)


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

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`, or a negative weight.
    """
    name = "binary_cross_entropy"
    pred, target = operands(name, pred, target, reduction)
    weight = None if pos_weight is None else _positive_weight(pred, pos_weight)
    rows = F.binary_cross_entropy_rows(pred, target, pos_weight=weight, mean=reduction != "sum")
    return reduce_rows(name, rows, sample_weight, reduction)


def binary_focal(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    gamma: float = 2.0,
    alpha: float | None = 0.25,
) -> Tensor:
    r"""Focal loss of independent yes-or-no outputs, from logits.

    With :math:`p = \sigma(y)`,

    .. math:: -\alpha\, t\, (1 - p)^\gamma \ln p - (1 - \alpha) (1 - t)\, p^\gamma \ln(1 - p)

    so what is predicted well already counts less than in the cross-entropy (:math:`\gamma = 0`).
    Lin et al., "Focal loss for dense object detection", ICCV 2017.

    Args:
        pred: Logits: the layer before must not have a sigmoid.
        target: Probabilities in [0, 1].
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        gamma: 0 or more.
        alpha: Weight of positives, in [0, 1]; ``None``: both kinds weigh 1.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`, `gamma` or `alpha` out of range.
    """
    name = "binary_focal"
    pred, target = operands(name, pred, target, reduction)
    rows = F.binary_focal_rows(pred, target, gamma=gamma, alpha=alpha, mean=reduction != "sum")
    return reduce_rows(name, rows, sample_weight, reduction)


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
    real_number(name, "label_smoothing", label_smoothing, 0.0, 1.0, up_to=True)
    pred, target = _class_operands(name, pred, target)
    weight = None if class_weight is None else _class_weight(name, pred, class_weight)
    rows = F.cross_entropy_rows(pred, target, class_weight=weight, label_smoothing=label_smoothing)
    norm = None
    if weight is not None and target.dtype.kind == "i":
        norm = F.gather_rows(weight, target)
    return reduce_rows(name, rows, sample_weight, reduction, norm)


def focal(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    gamma: float = 2.0,
    class_weight: TensorLike | None = None,
) -> Tensor:
    r"""Softmax and focal loss in one, from logits.

    .. math:: -\sum_j c_j\, t_j\, (1 - p_j)^\gamma \ln p_j, \quad p = \mathrm{softmax}(y)

    where :math:`t` is the row's distribution (for a label, 1 there and 0 elsewhere) and :math:`c`
    the class weights, the :math:`\alpha` of Lin et al., ICCV 2017. The mean over rows divides by
    their number, not by their class weights.

    Args:
        pred: Logits ``[rows, classes]``: the layer before must not have a softmax.
        target: Integer labels ``[rows]`` in [0, classes), or probabilities ``[rows, classes]``.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        gamma: 0 or more; 0 is the cross-entropy.
        class_weight: :math:`c`, one weight for each class.

    Raises:
        ValueError: Shapes that do not fit, a label or `gamma` out of range.
        TypeError: Labels that are not integers.
    """
    name = "focal"
    check_reduction(name, reduction)
    pred, target = _class_operands(name, pred, target)
    weight = None if class_weight is None else _class_weight(name, pred, class_weight)
    rows = F.focal_rows(pred, target, class_weight=weight, gamma=gamma)
    return reduce_rows(name, rows, sample_weight, reduction)


def kl_div(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    log_target: bool = False,
) -> Tensor:
    r"""Kullback-Leibler divergence of predicted distributions from the targets.

    .. math:: \sum_j t_j (\ln t_j - y_j)

    where :math:`y` are *logarithms* of probabilities, such as ``F.log_softmax`` gives, and a target
    of 0 adds nothing. Kullback & Leibler, "On information and sufficiency", Annals of Mathematical
    Statistics 22, 1951. A row is one distribution, so "mean" is PyTorch's "batchmean".

    Args:
        pred: Logarithms of probabilities ``[rows, ...]``.
        target: Probabilities, or their logarithms.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        log_target: The targets are logarithms.

    Raises:
        ValueError: Shapes that do not fit, or a negative probability.
    """
    pred, target = operands("kl_div", pred, target, reduction)
    if not log_target and not target.symbolic and target.size and np.min(target.data) < 0:
        raise ValueError(f"kl_div: target must not be negative, got {np.min(target.data)}")
    rows = F.kl_div_rows(pred, target, log_target=log_target)
    return reduce_rows("kl_div", rows, sample_weight, reduction)


def dice(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    smooth: float = 1.0,
    squared: bool = False,
    from_logits: bool = True,
) -> Tensor:
    r"""One minus the overlap of predicted and true sets, a row being a set.

    .. math:: 1 - \frac{2 \sum_j p_j t_j + s}{\sum_j p_j + \sum_j t_j + s}, \quad p = \sigma(y)

    Few true elements among many count as much as many do. Milletari et al., "V-Net", 3DV 2016,
    who take the squares of :math:`p` and :math:`t` in the denominator (``squared``).

    Args:
        pred: Logits ``[rows, ...]``, or probabilities.
        target: Probabilities in [0, 1], mostly 0 and 1.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        smooth: :math:`s`, positive; what a row without a true element is judged by.
        squared: Squares in the denominator.
        from_logits: False: `pred` holds probabilities.

    Raises:
        ValueError: Shapes that do not fit, or a `smooth` that is not positive.
    """
    name = "dice"
    real_number(name, "smooth", smooth, above=True)
    pred, target = operands(name, pred, target, reduction)
    share = F.sigmoid(pred) if from_logits else pred
    overlap = _row_sum(share * target)
    sizes = share * share + target * target if squared else share + target
    rows = 1 - (2 * overlap + smooth) / (_row_sum(sizes) + smooth)
    return reduce_rows(name, rows, sample_weight, reduction)


def _row_sum(x: Tensor) -> Tensor:
    return x if x.ndim == 1 else F.sum(x, tuple(range(1, x.ndim)))


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


def _class_operands(name: str, pred: TensorLike, target: TensorLike) -> tuple[Tensor, Tensor]:
    """Logits [rows, classes], and int64 labels [rows] or probabilities of that shape and dtype."""
    pred = predictions(name, pred)
    if pred.ndim != 2:
        raise ValueError(f"{name}: predictions must be [rows, classes], got shape {pred.shape}")
    rows, classes = pred.shape
    given = target if isinstance(target, Tensor) else as_tensor(as_array(f"{name}: target", target))
    if given.shape == pred.shape and not (classes == 1 and given.dtype.kind == "i"):
        return pred, as_dtype(target if given.dtype.kind == "f" else given, pred.dtype)
    if given.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"{name}: targets have shape {given.shape}; predictions of shape {pred.shape} "
            f"need labels ({rows},) or probabilities {pred.shape}"
        )
    if given.dtype.kind != "i":
        raise TypeError(f"{name}: labels must be integers, got {given.dtype}")
    labels = given if given.ndim == 1 else F.reshape(given, (rows,))
    if not labels.symbolic:
        check_labels(name, labels.data, classes, "target")
    return pred, labels


def _class_weight(name: str, pred: Tensor, class_weight: Any) -> Tensor:
    weight = as_dtype(class_weight, pred.dtype)
    if weight.shape != pred.shape[1:]:
        raise ValueError(
            f"{name}: class_weight has shape {weight.shape}, expected {pred.shape[1:]}, "
            "one for each class"
        )
    _check_weights(name, "class_weight", weight)
    return weight


def _check_weights(name: str, parameter: str, weight: Tensor) -> None:
    if not weight.symbolic and not bool(np.all(np.isfinite(weight.data) & (weight.data >= 0))):
        raise ValueError(f"{name}: {parameter} must be finite and not negative, got {weight.data}")
