"""Losses: functions of predictions and targets, and the form in which a Trainer uses them."""

from fastprop.losses.functions import (
    binary_cross_entropy,
    cross_entropy,
    gaussian_nll,
    hinge,
    huber,
    mae,
    mse,
    poisson_nll,
)
from fastprop.losses.loss import LOSSES, Loss, get
from fastprop.losses.weights import check_sample_weight

__all__ = [
    "mse",
    "mae",
    "huber",
    "cross_entropy",
    "binary_cross_entropy",
    "hinge",
    "poisson_nll",
    "gaussian_nll",
    "LOSSES",
    "Loss",
    "get",
    "check_sample_weight",
]
