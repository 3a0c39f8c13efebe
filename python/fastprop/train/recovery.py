"""Back to the last good parameters when a loss turns non-finite.

Copying all parameters before every step would cost as much as the step. So a copy is taken now and
then, and what happened since is done again, up to the update that broke the loss: runs are exact
functions of their arguments, so doing it again gives the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data.base import RowsGone
from fastprop.train.runs import Runs

if TYPE_CHECKING:
    from fastprop.optim import Optimizer

_LEAST_SECONDS = 0.5  # between two copies
_COST_SHARE = 100.0  # copying takes at most a hundredth of the time
_MOST_SEGMENTS = 4096  # runs remembered after a copy


class Segment(NamedTuple):
    """One run: some steps of an epoch or of several, and the optimizer's numbers for them."""

    epoch: int  # of the first step
    first: int  # step of that epoch
    steps: int
    step: int  # optimizer.steps before it
    scalars: NDArray[np.float64]


class _Copy:
    """Parameters and optimizer state as they were."""

    def __init__(self, arrays: Sequence[NDArray[Any]], step: int) -> None:
        # State that is zero still, as in the first copy of a fit, takes no memory.
        self.saved = [a.copy() if _any_bit(a) else None for a in arrays]
        self.step = step
        self.segments: list[Segment] = []

    def renew(self, arrays: Sequence[NDArray[Any]], step: int) -> None:
        for i, array in enumerate(arrays):
            saved = self.saved[i]
            if saved is None:
                self.saved[i] = array.copy()
            else:
                np.copyto(saved, array)
        self.step = step
        self.segments = []

    def restore(self, arrays: Sequence[NDArray[Any]]) -> None:
        for saved, array in zip(self.saved, arrays, strict=True):
            np.copyto(array, 0 if saved is None else saved)


def _any_bit(array: NDArray[Any]) -> bool:
    """Minus zero has one."""
    return bool(array.reshape(-1).view(f"u{array.itemsize}").any())


class Recovery:
    """Keeps the two latest copies, so that there always is one before the last finite loss.

    Args:
        arrays: All that a run changes, as :meth:`Program.changed_arrays` tells.
        optimizer: Its parameters are what has to be finite; counts the steps.
        replay: Does a segment again: ``replay(segment, count)`` are the runs of its first `count`
            steps.
    """

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]],
        optimizer: Optimizer,
        replay: Callable[[Segment, int], Runs[None]],
    ) -> None:
        self._arrays = arrays
        self._optimizer = optimizer
        self._replay = replay
        self._copies: list[_Copy] = []
        self._due = 0.0

    def before_run(self, *, always: bool = False) -> None:
        """Take a copy if the last one is old, or if `always`: the user's code has been at it."""
        if self._copies and not always:
            recent = time.perf_counter() < self._due
            if recent and len(self._copies[-1].segments) < _MOST_SEGMENTS:
                return
        started = time.perf_counter()
        arrays, step = self._arrays, self._optimizer.steps
        if len(self._copies) == 2:
            oldest = self._copies.pop(0)
            oldest.renew(arrays, step)
            self._copies.append(oldest)
        else:
            self._copies.append(_Copy(arrays, step))
        now = time.perf_counter()
        self._due = now + max(_LEAST_SECONDS, _COST_SHARE * (now - started))

    def add(self, segment: Segment) -> None:
        """Remember a run that has been done."""
        self._copies[-1].segments.append(segment)

    def parameters_finite(self) -> bool:
        return all(_core.all_finite(p.data) for p in self._optimizer.parameters)

    def roll_back(self, step: int) -> Runs[None]:
        """Make all as it was when ``optimizer.steps`` was `step`, or at the first copy if later.

        Where rows cannot be read again, such as those of an iterator, it goes back to a copy.
        """
        segments = [s for copy in self._copies for s in copy.segments]
        copy = next((c for c in reversed(self._copies) if c.step <= step), self._copies[0])
        self._return_to(copy)
        for segment in segments:
            count = min(segment.steps, step - segment.step)
            if segment.step >= copy.step and count > 0:
                try:
                    yield from self._replay(segment, count)
                except RowsGone:
                    break
                self._optimizer.steps = segment.step + count
        if not self.parameters_finite():
            self._return_to(copy)

    def _return_to(self, copy: _Copy) -> None:
        copy.restore(self._arrays)
        self._optimizer.steps = copy.step
