"""Losses of numbers: what is predicted is a value, or the distribution of one.

Reductions and shapes are described in :mod:`fastprop.losses`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastprop import functional as F
from fastprop.checks import real_number
from fastprop.graph.tensor import Tensor, TensorLike
from fastprop.losses.reduce import (
    Reduction,
    Weights,
    as_dtype,
    check_reduction,
    operands,
    predictions,
    reduce_rows,
    targets_like,
)


def mse(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean squared error, :math:`(y - t)^2`.

    Args:
        pred: Predictions ``[rows, ...]``, float32 or float64.
        target: Targets, in the shape of the predictions.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`.
    """
    pred, target = operands("mse", pred, target, reduction)
    rows = F.mse_rows(pred, target, mean=reduction != "sum")
    return reduce_rows("mse", rows, sample_weight, reduction)


def mae(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean absolute error, :math:`|y - t|`, whose derivative at 0 is taken to be 0.

    Args:
        pred: Predictions ``[rows, ...]``, float32 or float64.
        target: Targets, in the shape of the predictions.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`.
    """
    pred, target = operands("mae", pred, target, reduction)
    rows = F.mae_rows(pred, target, mean=reduction != "sum")
    return reduce_rows("mae", rows, sample_weight, reduction)


def huber(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    delta: float = 1.0,
) -> Tensor:
    r"""Half the squared error up to ``delta``, a line from there on.

    With :math:`d = y - t`,

    .. math:: \tfrac12 d^2 \text{ where } |d| \le \delta,
        \text{ else } \delta (|d| - \tfrac12 \delta)

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Args:
        pred: Predictions ``[rows, ...]``, float32 or float64.
        target: Targets, in the shape of the predictions.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.
        delta: :math:`\delta`, positive.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`, or a `delta` that is not
            positive.
    """
    real_number("huber", "delta", delta, above=True)
    pred, target = operands("huber", pred, target, reduction)
    rows = F.huber_rows(pred, target, delta=delta, mean=reduction != "sum")
    return reduce_rows("huber", rows, sample_weight, reduction)


def log_cosh(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Logarithm of the hyperbolic cosine of the error, :math:`\ln \cosh(y - t)`.

    About :math:`d^2 / 2` near zero and :math:`|d| - \ln 2` far out, as smooth as can be. It is
    computed without overflow, and near zero without cancellation.

    Args:
        pred: Predictions ``[rows, ...]``, float32 or float64.
        target: Targets, in the shape of the predictions.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`.
    """
    pred, target = operands("log_cosh", pred, target, reduction)
    rows = F.log_cosh_rows(pred, target, mean=reduction != "sum")
    return reduce_rows("log_cosh", rows, sample_weight, reduction)


def quantile(
    pred: TensorLike,
    target: TensorLike,
    *,
    sample_weight: Weights = None,
    reduction: Reduction = "mean",
    q: float | Sequence[float] = 0.5,
) -> Tensor:
    r"""Pinball loss, whose minimum is the quantile :math:`q` of the target.

    .. math:: \max(q (t - y), (q - 1) (t - y))

    Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978.

    Args:
        pred: Predictions ``[rows, ...]``.
        target: Targets: the shape of the predictions; with several quantiles also ``[rows]`` or
            ``[rows, 1]``, one target for all of them.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none".
        q: The quantile, between 0 and 1; or one for each column of the predictions.

    Raises:
        ValueError: Shapes that do not fit, or a quantile that is not between 0 and 1.
    """
    name = "quantile"
    check_reduction(name, reduction)
    pred = predictions(name, pred)
    several = np.ndim(q) > 0
    if several:
        columns = pred.shape[-1] if pred.ndim > 1 else 1
        if np.shape(q) != (columns,):
            raise ValueError(
                f"{name}: q has shape {np.shape(q)}, predictions have {columns} columns; give a "
                "number, or one for each column"
            )
        target = _for_all_quantiles(pred, target)
    rows = F.quantile_rows(
        pred,
        targets_like(name, pred, target),
        Tensor(q, dtype=pred.dtype),
        mean=reduction != "sum",
    )
    return reduce_rows(name, rows, sample_weight, reduction)


def _for_all_quantiles(pred: Tensor, target: TensorLike) -> Tensor:
    """One target a row, repeated for each column."""
    tensor = as_dtype(target, pred.dtype)
    if pred.ndim != 2 or tensor.shape not in ((pred.shape[0],), (pred.shape[0], 1)):
        return tensor
    return F.broadcast_to(F.reshape(tensor, (pred.shape[0], 1)), pred.shape)


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

    Args:
        pred: Predictions ``[rows, ...]``, float32 or float64.
        target: Counts, in the shape of the predictions.
        sample_weight: Weight of each row.
        reduction: "mean", "sum" or "none"; see :mod:`fastprop.losses`.
        log_input: Predictions are logarithms of rates.
        full: Add the approximation of :math:`\ln t!`.
        eps: :math:`\epsilon`, positive.

    Raises:
        TypeError: Predictions that are not floats, or targets of another floating dtype.
        ValueError: Shapes that do not fit, an unknown `reduction`, or an `eps` that is not
            positive.
    """
    real_number("poisson_nll", "eps", eps, above=True)
    pred, target = operands("poisson_nll", pred, target, reduction)
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

    Raises:
        TypeError: Means that are not floats, or targets or variances of another floating dtype.
        ValueError: Shapes that do not fit, a negative variance, an unknown `reduction`, or an `eps`
            that is not positive.
    """
    real_number("gaussian_nll", "eps", eps, above=True)
    pred, target = operands("gaussian_nll", pred, target, reduction)
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
