"""A loss or a parameter that is no number: back to the last good parameters, and the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.graph import anomaly
from fastprop.train.errors import NonFiniteError
from fastprop.train.feed import ArrayFeed, Feed, chunk_at, of_steps
from fastprop.train.recovery import Recovery, Segment
from fastprop.train.runs import Runs

if TYPE_CHECKING:
    from fastprop.optim import Optimizer

_ADVICE = "A smaller learning rate, or inputs and targets scaled to about 1, usually help"


class NonFinite:
    """Ends a training whose numbers are not finite.

    Args:
        feed: Where the rows of a step are.
        recovery: Brings back what was before a step.
        optimizer: Counts the steps.
        explain: Does the step of some rows op by op; gives what came out that is not finite.
    """

    def __init__(
        self,
        feed: Feed,
        recovery: Recovery,
        optimizer: Optimizer,
        explain: Callable[[list[NDArray[Any]], NDArray[np.int64]], Exception | None],
    ) -> None:
        self._feed = feed
        self._recovery = recovery
        self._optimizer = optimizer
        self._explain = explain
        self._first_step = optimizer.steps

    def stop(
        self, segment: Segment, bad: int, loss: float, *, began_well: bool = False
    ) -> Runs[None]:
        """Go back to the last good parameters and raise.

        Args:
            segment: What was run.
            bad: The step of it whose loss is not finite.
            loss: That loss.
            began_well: The first loss of that step was finite, so the parameters before it are
                good; else those before its predecessor are.
        """
        good = segment.step + bad - (0 if began_well else 1)
        yield from self._recovery.roll_back(good)
        epoch, step = self._place(segment, bad)
        step += 1
        known_good = good >= self._first_step
        kept = "the last good parameters" if known_good else "the parameters from before this call"
        cause = yield from self._cause(segment, bad)
        advice = _ADVICE if cause is None else str(cause)
        raise NonFiniteError(
            f"Trainer.fit: the loss is {loss} in epoch {epoch}, step {step}{of_steps(self._feed)}; "
            f"{kept} are kept. {advice}",
            epoch,
            step,
            loss,
        ) from cause

    def check_parameters(self, epoch: int, step: int) -> Runs[None]:
        """After the last step of `epoch`: no loss comes to show what the last update did."""
        if self._optimizer.steps > self._first_step and not self._recovery.parameters_finite():
            yield from self._recovery.roll_back(self._optimizer.steps - 1)
            raise NonFiniteError(
                f"Trainer.fit: a parameter is not finite after the update of epoch {epoch}, step "
                f"{step}; the parameters before it are kept. {_ADVICE}",
                epoch,
                step,
                float("nan"),
            )

    def _place(self, segment: Segment, step: int) -> tuple[int, int]:
        """Epoch, and step of it, of a step of a segment."""
        if not isinstance(self._feed, ArrayFeed):
            return segment.epoch, segment.first + step
        epochs, own = divmod(segment.first + step, self._feed.steps)
        return segment.epoch + epochs, own

    def _cause(self, segment: Segment, bad: int) -> Runs[Exception | None]:
        """Inside ``detect_anomaly``: what made a loss non-finite, found by doing the step with the
        last finite loss and then the one after it op by op. All is as before afterwards."""
        if anomaly.active() is None:
            return None
        good = self._optimizer.steps
        cause = None
        for k in (bad - 1, bad):
            if cause is not None or segment.first + k < 0:
                continue
            yield from self._recovery.roll_back(segment.step + k)
            if self._optimizer.steps == segment.step + k:
                epoch, step = self._place(segment, k)
                chunk = chunk_at(self._feed, epoch, step)
                cause = self._explain(chunk.sources, chunk.rows_of(step, 1))
        yield from self._recovery.roll_back(good)
        return cause
