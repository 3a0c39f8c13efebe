r"""Losses: functions of predictions and targets, and the form in which a Trainer uses them.

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

from fastprop.losses.classification import (
    binary_cross_entropy,
    binary_focal,
    cross_entropy,
    dice,
    focal,
    hinge,
    kl_div,
)
from fastprop.losses.embedding import contrastive, cosine_embedding, triplet_margin
from fastprop.losses.loss import LOSSES, Loss, MultiOutput, get
from fastprop.losses.regression import (
    gaussian_nll,
    huber,
    log_cosh,
    mae,
    mse,
    poisson_nll,
    quantile,
)
from fastprop.losses.weights import check_sample_weight

__all__ = [
    "mse",
    "mae",
    "huber",
    "log_cosh",
    "quantile",
    "cross_entropy",
    "focal",
    "binary_cross_entropy",
    "binary_focal",
    "dice",
    "hinge",
    "kl_div",
    "poisson_nll",
    "gaussian_nll",
    "cosine_embedding",
    "contrastive",
    "triplet_margin",
    "LOSSES",
    "Loss",
    "MultiOutput",
    "get",
    "check_sample_weight",
]
