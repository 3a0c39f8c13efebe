"""Learning rates as functions of the step.

A schedule stands wherever a learning rate does: ``optim.Adam(lr=schedules.Cosine(1e-3, 1000))``.
All lengths and positions are numbers of optimizer steps, not of epochs; an epoch of ``n`` rows has
``ceil(n / batch_size)`` steps.
"""

from fastprop.optim.schedules.base import Schedule
from fastprop.optim.schedules.combine import Scaled, Sequential, Warmup
from fastprop.optim.schedules.cycles import CosineRestarts, Cyclic, OneCycle
from fastprop.optim.schedules.decay import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    MultiStep,
    Polynomial,
    Step,
)

__all__ = [
    "Schedule",
    "Constant",
    "Step",
    "MultiStep",
    "Exponential",
    "Polynomial",
    "Cosine",
    "CosineRestarts",
    "OneCycle",
    "Cyclic",
    "InverseSqrt",
    "Warmup",
    "Sequential",
    "Scaled",
]
