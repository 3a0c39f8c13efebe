"""Schedules made of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.schedules.base import Schedule
from fastprop.optim.schedules.decay import Constant
from fastprop.registry import type_name


def _schedule(where: str, name: str, value: Any) -> Schedule:
    """A Schedule as it is, a number as a constant rate."""
    if isinstance(value, Schedule):
        return value
    if callable(value) or isinstance(value, str | type(None)):
        raise TypeError(
            f"{where}: {name} must be a Schedule or a number, got {type_name(value)}; "
            "a formula of your own goes into a subclass of schedules.Schedule"
        )
    try:
        return Constant(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {name}: {error}") from None


class Warmup(Schedule):
    r"""Up along a line to the first rate of another schedule, which then begins at its step 0.

    .. math::
        \gamma_t = \begin{cases}
            \sigma_0 \left(s + (1 - s)\, t / w\right) & t < w \\
            \sigma_{t - w} & t \ge w \end{cases}

    Args:
        steps: :math:`w`, in optimizer steps.
        then: The Schedule :math:`\sigma`, or a number for a constant rate.
        start_factor: :math:`s` in [0, 1], the part of the rate to begin with. With 0 the first step
            changes nothing.

    Raises:
        ValueError: Steps below 1, a factor out of its range, a bad rate.
        TypeError: `then` is no Schedule and no number.

    As PyTorch's ``LinearLR`` followed by another one in a ``SequentialLR``. Goyal et al.,
    "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.
    """

    steps: int
    then: Schedule
    start_factor: float

    def __init__(self, steps: int, then: Schedule | float, start_factor: float = 1.0 / 3.0) -> None:
        steps = self._count("steps", steps)
        start_factor = self._number("start_factor", start_factor, most=1.0)
        then = _schedule("Warmup", "then", then)
        self._set(steps=steps, then=then, start_factor=start_factor)

    @property
    def length(self) -> int | None:
        after = self.then.length
        return None if after is None else self.steps + after

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        after = self.then.rates(np.maximum(steps - self.steps, 0))  # that of step 0 until then
        factor = self.start_factor + (1.0 - self.start_factor) * (steps / self.steps)
        return np.where(steps < self.steps, after * factor, after)


class Sequential(Schedule):
    r"""One schedule after the other; each begins at its own step 0 when its turn comes.

    :math:`\gamma_t = \sigma^{(i)}_{t - m_i}` for :math:`m_i \le t < m_{i+1}`, with :math:`m_0 = 0`.

    Args:
        schedules: Schedules, or numbers for constant rates; at least one.
        milestones: Optimizer steps at which the second, third, … begins; increasing.

    Raises:
        ValueError: No schedules, not one milestone less than schedules, milestones that do not
            increase from 1 on.
        TypeError: Something that is no Schedule and no number.

    As PyTorch's ``SequentialLR``.
    """

    schedules: tuple[Schedule, ...]
    milestones: tuple[int, ...]

    def __init__(self, schedules: Sequence[Schedule | float], milestones: Iterable[int]) -> None:
        if not isinstance(schedules, list | tuple):
            raise TypeError(
                f"Sequential: schedules must be a list of Schedules, got {type_name(schedules)}"
            )
        made = tuple(
            _schedule("Sequential", f"schedules[{i}]", given) for i, given in enumerate(schedules)
        )
        if not made:
            raise ValueError("Sequential: schedules must be at least one, got none")
        steps = self._milestones("milestones", milestones)
        if len(steps) != len(made) - 1:
            raise ValueError(
                f"Sequential: {len(made)} schedules need {len(made) - 1} milestones, "
                f"got {len(steps)}"
            )
        self._set(schedules=made, milestones=steps)

    @property
    def length(self) -> int | None:
        last = self.schedules[-1].length
        return None if last is None else (0, *self.milestones)[-1] + last

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        starts = np.array((0, *self.milestones), dtype=np.int64)
        turn = np.searchsorted(starts, steps, side="right") - 1
        rates = np.empty(steps.shape)
        for i in np.unique(turn):
            rates[turn == i] = self.schedules[i].rates(steps[turn == i] - starts[i])
        return rates


class Scaled(Schedule):
    r"""Another schedule times a factor: :math:`\gamma_t = f\, \sigma_t`.

    Args:
        then: The Schedule :math:`\sigma`, or a number for a constant rate.
        factor: :math:`f`, not negative.

    Raises:
        ValueError: A factor that is negative or not finite, a bad rate.
        TypeError: `then` is no Schedule and no number.
    """

    then: Schedule
    factor: float

    def __init__(self, then: Schedule | float, factor: float) -> None:
        then = _schedule("Scaled", "then", then)
        self._set(then=then, factor=self._number("factor", factor))

    @property
    def length(self) -> int | None:
        return self.then.length

    def formula(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.factor * self.then.rates(steps)
