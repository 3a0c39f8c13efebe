"""Training by the clock: ``fit(max_seconds=…)``."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import real_number
from fastprop.optim.schedules import Schedule
from fastprop.train.inputs import check_epochs

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.optim.hyper import LearningRate
    from fastprop.optim.rates import Tempo

_MOST_STEPS = 1 << 62  # a schedule is stretched over; the clock ends a fit long before


class Pace:
    r"""Says when the time is up, and stretches a schedule over the time there is.

    The rate at the time :math:`t` is :math:`\sigma(\lfloor L\, t / T \rfloor)`, where :math:`T` are
    the seconds and :math:`L` the steps that were planned: so the whole schedule is gone through,
    however many steps this machine does in that time. Where it does all planned steps in less, the
    schedule follows the steps. Numbers and functions of the step are left as they are.

    Args:
        seconds: :math:`T`.
        optimizer: Whose learning rates they are, also those of groups.
        steps: :math:`L`, or ``None`` if any number will do: then it is the schedule's own length,
            and schedules without an end are left as they are.
        used: Seconds that are gone already, of a run that goes on.
        done: Steps of it that are done already.
    """

    def __init__(
        self,
        seconds: float,
        optimizer: Optimizer,
        steps: int | None,
        used: float = 0.0,
        done: int = 0,
    ) -> None:
        self.seconds = seconds
        self._optimizer = optimizer
        self._first_step = optimizer.steps - done
        first = optimizer.updates(self._first_step, 1)
        if steps is not None:
            steps = min(steps, _MOST_STEPS)
        # Schedules count updates, of which one may be for several steps.
        self._updates = steps and int((optimizer.updates(self._first_step + steps, 1) - first)[0])
        self._started = perf_counter() - used
        self._reserved = 0.0

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self._started

    @property
    def left(self) -> float:
        """Seconds that are left to train in; not below 0."""
        return max(0.0, self.seconds - self._reserved - self.used)

    @property
    def over(self) -> bool:
        return self.left == 0.0

    def reserve(self, seconds: float) -> None:
        """Keep some time for what follows the last step: evaluation takes that long."""
        self._reserved = min(seconds, 0.5 * self.seconds)

    def tempo(self, step_seconds: float | None) -> Tempo:
        """What gives the learning rates of the next steps, if one takes `step_seconds`."""
        used = self.used

        def rates(lr: LearningRate, first_step: int, count: int) -> NDArray[np.float64] | None:
            length = (self._updates or lr.length) if isinstance(lr, Schedule) else None
            if length is None or not isinstance(lr, Schedule):
                return None
            times = used + (step_seconds or 0.0) * np.arange(count)
            progress = np.minimum(times / max(self.seconds - self._reserved, 1e-9), 1.0)
            steps = (progress * length).astype(np.int64)
            if self._updates is not None:
                updates = self._optimizer.updates
                done = updates(first_step, count) - updates(self._first_step, 1)
                steps = np.maximum(steps, done)
            return lr.rates(steps)

        return rates


def check_length(
    where: str, epochs: SupportsIndex | None, seconds: float | None
) -> tuple[int | None, float | None]:
    """How long a fit is: epochs, 0 or more, and a time above 0; one epoch if neither is given.

    Raises:
        TypeError: No number.
        ValueError: Out of range, or not finite.
    """
    if seconds is not None:
        seconds = real_number(where, "max_seconds", seconds, above=True)
    elif epochs is None:
        return 1, None
    return None if epochs is None else check_epochs(where, epochs), seconds
