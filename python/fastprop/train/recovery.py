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
from fastprop.graph.program import Copies
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


class Recovery:
    """Keeps the latest copy of what the runs change, taken where the loss was finite.

    The run makes it, in its first step: behind the look at the loss and before the updates. So one
    copy is enough: the loss of what it holds is known to be finite.

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
        # State that is zero still, as at the start of a training, takes no memory: None.
        self._saved: list[NDArray[Any] | None] = [None] * len(arrays)
        self._next = self._saved  # what the run at hand copies to
        self._step: int | None = None  # of the copy
        self._segments: list[Segment] = []  # since then
        self._due = 0.0
        self._asked = False

    def before_run(self, *, always: bool = False) -> None:
        """Have a copy made if the last one is old, or if `always`: the user's code has been at
        it."""
        recent = time.perf_counter() < self._due and len(self._segments) < _MOST_SEGMENTS
        self._asked = always or self._step is None or not recent

    def wanted(self) -> Copies | None:
        """What the next run is to copy, if that was asked for; :meth:`copied` tells that it did."""
        if not self._asked:
            return None
        self._asked = False
        self._next = [
            np.empty_like(array) if saved is None and _core.any_bit(array) else saved
            for saved, array in zip(self._saved, self._arrays, strict=True)
        ]
        pairs = zip(self._arrays, self._next, strict=True)
        return [(array, saved) for array, saved in pairs if saved is not None]

    def copied(self, step: int, seconds: float) -> None:
        """The run that began at this step has made the copy, in so much time."""
        self._saved, self._step, self._segments = self._next, step, []
        self._due = time.perf_counter() + max(_LEAST_SECONDS, _COST_SHARE * seconds)

    def add(self, segment: Segment) -> None:
        """Remember a run that has been done."""
        self._segments.append(segment)

    def parameters_finite(self) -> bool:
        return all(_core.all_finite(p.data) for p in self._optimizer.parameters)

    def roll_back(self, step: int) -> Runs[None]:
        """Make all as it was when ``optimizer.steps`` was `step`, or at the copy if that is later.

        Where rows cannot be read again, such as those of an iterator, it goes back to the copy.
        Without a copy no loss was finite yet, and nothing has changed.
        """
        if self._step is None:
            return
        self._return_to_copy()
        for segment in self._segments:
            count = min(segment.steps, step - segment.step)
            if count > 0:
                try:
                    yield from self._replay(segment, count)
                except RowsGone:
                    break
                self._optimizer.steps = segment.step + count
        if not self.parameters_finite():
            self._return_to_copy()

    def close(self) -> None:
        """Let go of the copies and of who does segments again: nothing more will be run."""
        self._saved = self._next = []
        self._segments = []
        del self._replay

    def _return_to_copy(self) -> None:
        assert self._step is not None
        for saved, array in zip(self._saved, self._arrays, strict=True):
            np.copyto(array, 0 if saved is None else saved)
        self._optimizer.steps = self._step
