"""The learning rates of some steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import real_number
from fastprop.optim.hyper import LearningRate
from fastprop.optim.schedules import Schedule

# What a learning rate is at some steps, as (rate, first step, how many), or None for the usual.
Tempo = Callable[[LearningRate, int, int], NDArray[np.float64] | None]


def rates_of(
    where: str, lr: LearningRate, first_step: int, count: int, tempo: Tempo | None = None
) -> NDArray[np.float64]:
    """What a number, a Schedule or a function of the step is at some steps.

    Raises:
        ValueError: A rate that is negative or not finite.
        TypeError: A rate that is no number.
    """
    found = None if tempo is None else tempo(lr, first_step, count)
    if found is not None:
        return found
    if isinstance(lr, Schedule):
        return lr.rates(np.arange(first_step, first_step + count, dtype=np.int64))
    if not callable(lr):
        return np.full(count, lr)
    steps = range(first_step, first_step + count)
    return np.array([real_number(where, f"lr({t})", lr(t)) for t in steps], dtype=np.float64)


def known(lr: LearningRate) -> bool:
    """Whether the step alone decides: a function other than a Schedule may look at the clock."""
    return isinstance(lr, Schedule) or not callable(lr)
