r"""Losses on NumPy arrays: value and gradient, in one pass or apart.

Each loss is three functions: ``<loss>`` gives (value, gradient), ``<loss>_forward`` the value,
``<loss>_backward`` the gradient. Row *i* has the loss :math:`\ell_i` and the weight :math:`w_i`:

- ``"mean"``: :math:`\sum_i w_i \ell_i / \sum_i w_i`, with :math:`\ell_i` the mean of the row;
- ``"sum"``: :math:`\sum_i w_i \ell_i`, with their sum;
- ``"none"``: the array :math:`w_i \ell_i`; the gradient is that of its sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastprop.graph.loss_rows import check_focal
from fastprop.kernels._call import Array, execute, index_operand, operands
from fastprop.kernels._losses import (
    LossCall,
    Value,
    check,
    check_options,
    divisor_of,
    family,
    make_loss,
    reduced,
    row_weight,
)


def _class_operands(
    name: str, pred: ArrayLike, target: ArrayLike, class_weight: ArrayLike | None
) -> tuple[Array, Array, list[Array]]:
    """Logits, labels or probabilities, and the class weights if there are any."""
    named = {"pred": pred}
    by_label = np.asarray(target).dtype.kind in "iu"
    if not by_label:
        named["target"] = target
    p, *probabilities = operands(name, **named)
    if p.ndim != 2:
        raise ValueError(f"{name}: pred must have the shape [rows, classes], got {p.shape}")
    t = index_operand(name, "target", target) if by_label else probabilities[0]
    if class_weight is None:
        return p, t, []
    return p, t, [np.ascontiguousarray(class_weight, dtype=p.dtype)]


def _check_labels(name: str, labels: Array, classes: int) -> None:
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{name}: labels must be from 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
        )


def _prepare_cross_entropy(
    name: str,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> LossCall:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    p, t, aux = _class_operands(name, pred, target, class_weight)
    by_label = t.dtype.kind == "i"
    attrs = {"label_smoothing": float(label_smoothing)}
    weight = row_weight(name, sample_weight, p)
    c = LossCall(
        name,
        "cross_entropy" if by_label else "cross_entropy_probs",
        [p, t],
        aux,
        attrs,
        weight,
        1.0,
        reduction,
    )
    check(c)
    if by_label:
        _check_labels(name, t, p.shape[1])
    # With labels a row counts as much as its class weighs, as in PyTorch.
    counted = weight * aux[0][t] if by_label and aux else weight
    return c._replace(divisor=divisor_of(name, reduction, counted))


def _prepare_focal(
    name: str,
    pred: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    gamma: float = 2.0,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> LossCall:
    check_focal(name, gamma)
    p, t, aux = _class_operands(name, pred, target, class_weight)
    if t.dtype.kind == "f":
        raise TypeError(f"{name}: target must be integer labels, got {t.dtype}")
    weight = row_weight(name, sample_weight, p)
    divisor = divisor_of(name, reduction, weight)
    c = LossCall(name, "focal", [p, t], aux, {"gamma": float(gamma)}, weight, divisor, reduction)
    check(c)
    _check_labels(name, t, p.shape[1])
    return c


mse, mse_forward, mse_backward = make_loss("mse", "Squared error", r"\ell = (y - t)^2")
mae, mae_forward, mae_backward = make_loss("mae", "Absolute error", r"\ell = |y - t|")
huber, huber_forward, huber_backward = make_loss(
    "huber",
    "Huber's loss",
    r"\ell = d^2 / 2 \text{ where } |d| \le \delta, \text{ else } \delta (|d| - \delta / 2)",
    {"delta": (1.0, "Where the square turns into a line")},
)
log_cosh, log_cosh_forward, log_cosh_backward = make_loss(
    "log_cosh", "Logarithm of the hyperbolic cosine", r"\ell = \ln \cosh(y - t)"
)
quantile, quantile_forward, quantile_backward = make_loss(
    "quantile",
    "Pinball loss",
    r"\ell = \max(q (t - y), (q - 1) (t - y))",
    aux=("q", "The quantile (default 0.5): one number, or one for each index of the last axis."),
    aux_default=0.5,
)
hinge, hinge_forward, hinge_backward = make_loss(
    "hinge", "Hinge loss, for targets of -1 and 1", r"\ell = \max(0, 1 - t y)"
)
poisson_nll, poisson_nll_forward, poisson_nll_backward = make_loss(
    "poisson_nll",
    "Negative log-likelihood of counts",
    r"\ell = e^y - t y \text{ or } y - t \log(y + \epsilon)",
    {
        "log_input": (True, "`pred` is the logarithm of the rate"),
        "full": (False, "With Stirling's approximation of log(target!)"),
        "eps": (1e-8, "Added to the rate"),
    },
)
binary_cross_entropy, binary_cross_entropy_forward, binary_cross_entropy_backward = make_loss(
    "binary_cross_entropy",
    "Binary cross-entropy of logits",
    r"\ell = w t \log(1 + e^{-y}) + (1 - t) \log(1 + e^y)",
    aux=("pos_weight", "Weight of positives: one number, or one for each index of the last axis."),
)
kl_div, kl_div_forward, kl_div_backward = make_loss(
    "kl_div",
    "Kullback-Leibler divergence of logarithms of probabilities, summed over a row",
    r"\ell = t (\log t - y)",
    {"log_target": (False, "The targets are logarithms as well")},
    sums=True,
)
binary_focal, binary_focal_forward, binary_focal_backward = make_loss(
    "binary_focal",
    "Focal loss of logits",
    r"\ell = -\alpha t (1 - p)^\gamma \log p - (1 - \alpha) (1 - t) p^\gamma \log(1 - p)",
    {
        "gamma": (2.0, "How much less a well predicted element counts"),
        "alpha": (0.25, "Weight of positives; ``None``: all weigh 1"),
    },
)
cross_entropy, cross_entropy_forward, cross_entropy_backward = family(
    "cross_entropy",
    _prepare_cross_entropy,
    {
        "summary": "Cross-entropy of softmax of logits",
        "formula": r"\ell = -\sum_j q_j \log \mathrm{softmax}(y)_j, \; q_j = w_j ((1-s) t_j + s/C)",
        "pred": "``[rows, classes]``",
        "target": "Integer labels ``[rows]``, or probabilities ``[rows, classes]`` of pred's dtype",
    },
    {
        "class_weight": "Weights of the classes, ``[classes]``; with labels the mean divides by "
        "the sum of the rows' class weights.",
        "label_smoothing": "From 0 to 1 (default 0).",
    },
)
focal, focal_forward, focal_backward = family(
    "focal",
    _prepare_focal,
    {
        "summary": "Focal loss of softmax of logits",
        "formula": r"\ell = -w_t (1 - p_t)^\gamma \log p_t, \; p = \mathrm{softmax}(y)",
        "pred": "``[rows, classes]``",
        "target": "Integer labels ``[rows]``",
    },
    {
        "class_weight": "Weights of the classes, ``[classes]``.",
        "gamma": "How much less a well predicted row counts (default 2).",
    },
)


def gaussian_nll(
    pred: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> tuple[Value, Array, Array]:
    r"""Negative log-likelihood of a normal distribution: value and both gradients in one pass.

    .. math:: \ell = \tfrac12 (\log v + (y - t)^2 / v), \quad v = \max(\mathrm{var}, \epsilon)

    Args:
        pred: Means ``[rows, ...]``, float32 or float64.
        target: The same shape and dtype.
        var: Variances: the shape of `pred`, or with 1 for its last axis.
        full: With the constant ``log(2 pi) / 2``.
        eps: Least variance.
        sample_weight: Weight of each row, ``[rows]``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        The value, the gradient by `pred` and the gradient by `var`.

    Raises:
        TypeError: The dtypes differ or are not floating ones.
        ValueError: The shapes do not fit, or `eps` is not positive.
    """
    name = "gaussian_nll"
    check_options(name, {"eps": eps}, {"eps": eps})
    p, t, v = operands(name, pred=pred, target=target, var=var)
    if p.ndim == 0 or p.shape != t.shape or v.shape not in (p.shape, (*p.shape[:-1], 1)):
        raise ValueError(f"{name}: pred {p.shape}, target {t.shape} and var {v.shape} do not fit")
    weight = row_weight(name, sample_weight, p)
    divisor = divisor_of(name, reduction, weight)
    attrs = {"mean": reduction != "sum", "full": bool(full), "eps": float(eps)}
    rows, dpred, dvar = np.empty(p.shape[:1], p.dtype), np.empty_like(p), np.empty_like(v)
    g_rows = (weight / divisor).astype(p.dtype, copy=False)
    execute("gaussian_nll_fused", [p, t, g_rows, v], [rows, dpred, dvar], attrs)
    c = LossCall(name, "gaussian_nll", [p, t], [v], attrs, weight, divisor, reduction)
    return reduced(c, rows), dpred, dvar
