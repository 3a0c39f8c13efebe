"""Epochs: one run of a Program each, or a few where an epoch is long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.data.windows import Reading
from fastprop.graph import anomaly
from fastprop.graph.program import RunResult
from fastprop.train.callbacks import CallbackList
from fastprop.train.errors import NonFiniteError
from fastprop.train.feed import Chunk
from fastprop.train.programs import TracedProgram
from fastprop.train.progress import Progress
from fastprop.train.recovery import Recovery, Segment
from fastprop.train.streams import StreamData, feed_of

if TYPE_CHECKING:
    from fastprop.optim import Optimizer

# How long Python stays away. Every run packs the weights anew, so short runs of large models cost.
_WATCHED_SECONDS = 0.2
_UNWATCHED_SECONDS = 2.0


class EpochRunner:
    """Trains whole epochs on one Dataset. Weights do not depend on how an epoch is cut into runs.

    Args:
        traced: The training Program.
        data: What it reads.
        batch_size: Rows of a step.
        drop_last: Leave out a last batch that would be short.
        shuffle: New order in every epoch.
        seed: Of the order and of everything random in the Program.
        last_epoch: No data are read for epochs after it.
        optimizer: Its state goes on from where it is.
        callbacks: Told after every run.
        progress: Moved after every run, or ``None``.
        explain: Does the step of some rows op by op; gives what came out that is not finite.
    """

    def __init__(
        self,
        traced: TracedProgram,
        data: Dataset | StreamData,
        *,
        batch_size: int,
        drop_last: bool,
        shuffle: bool,
        seed: int,
        last_epoch: int,
        optimizer: Optimizer,
        callbacks: CallbackList,
        progress: Progress | None,
        explain: Callable[[list[NDArray[Any]], NDArray[np.int64]], Exception | None],
    ) -> None:
        self._explain = explain
        self._traced = traced
        self._feed = feed_of(data, Reading(batch_size, shuffle, seed, drop_last), last_epoch)
        self._batch = batch_size
        self._seed = seed
        self._optimizer = optimizer
        self._callbacks = callbacks
        self._progress = progress
        watched = progress is not None or callbacks.watches_steps
        self._run_seconds = _WATCHED_SECONDS if watched else _UNWATCHED_SECONDS
        self._recovery = Recovery(traced.changed_arrays(), optimizer, self._replay)
        self._first_step = optimizer.steps
        self._last_step = 0  # of the latest epoch
        self.stop_requested = False

    @property
    def rows(self) -> int:
        """Rows of the latest epoch."""
        rows = self._feed.rows
        assert rows is not None
        return rows

    def close(self) -> None:
        """Nothing more will be run."""
        self._feed.close()

    def run(self, epoch: int, epochs_done: int, first_step: int = 0) -> NDArray[np.float64] | None:
        """Train one epoch.

        Args:
            epoch: Its number; decides the order of the rows.
            epochs_done: Epochs done in this ``fit``, for the progress bar.
            first_step: Where to begin in it, after the steps that another run has done.

        Returns:
            What the steps recorded, ``[steps, scalars]``; ``None`` if :attr:`stop_requested` ended
            it early. Of those before `first_step` there is nothing.

        Raises:
            NonFiniteError: A loss was NaN or infinite; the last good parameters are back.
            KeyboardInterrupt: Ctrl-C (or what another signal handler raised), after a whole step.
        """
        self._recovery.before_run(always=self._callbacks.watches_epochs)
        parts: list[NDArray[np.float64]] = []
        step = first_step
        while (chunk := self._feed.at(epoch, step)) is not None:
            if parts:
                if self.stop_requested:
                    return None
                self._recovery.before_run()
            count = self._next_count(chunk.first + chunk.steps - step)
            parts.append(self._run(chunk, epoch, step, count))
            step += count
            self._last_step = step
            self._tell(parts[-1], epochs_done, step)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def check_parameters(self, epoch: int) -> None:
        """After the last step: no loss comes to show what the last update did.

        Raises:
            NonFiniteError: It made a parameter NaN or infinite; the parameters before it are back.
        """
        if not self._recovery.parameters_finite():
            self._recovery.roll_back(self._optimizer.steps - 1)
            raise NonFiniteError(
                f"Trainer.fit: a parameter is not finite after the update of epoch {epoch}, step "
                f"{self._last_step}; the parameters before it are kept. {_ADVICE}",
                epoch,
                self._last_step,
                float("nan"),
            )

    # -- runs -----------------------------------------------------------------------------------

    def _next_count(self, remaining: int) -> int:
        """Steps of the next run."""
        chooser = self._traced.chooser
        _, look = chooser.next()
        if look or chooser.step_seconds is None:
            return min(remaining, chooser.look_steps())
        count = max(1, int(self._run_seconds / chooser.step_seconds))
        return remaining if 2 * remaining <= 3 * count else count  # no stub at the end

    def _run(self, chunk: Chunk, epoch: int, first: int, count: int) -> NDArray[np.float64]:
        optimizer = self._optimizer
        step = optimizer.steps
        scalars = optimizer.step_scalars(step, count)
        result = self._execute(chunk, first, count, step, scalars)
        optimizer.steps = step + result.steps_done
        if result.stopped != "done":
            self._stopped(result, Segment(epoch, first, count, step, scalars))
        self._recovery.add(Segment(epoch, first, count, step, scalars))
        return result.values

    def _execute(
        self,
        chunk: Chunk,
        first: int,
        count: int,
        step: int,
        scalars: NDArray[np.float64],
    ) -> RunResult:
        return self._traced.run(
            chunk.sources,
            chunk.rows_of(first, count),
            self._batch,
            scalars,
            step,
            self._seed,
            timed=True,
        )

    def _replay(self, segment: Segment, count: int) -> None:
        chunk = self._feed.at(segment.epoch, segment.first)
        assert chunk is not None
        result = self._execute(chunk, segment.first, count, segment.step, segment.scalars[:count])
        if result.stopped == "interrupt":
            self._optimizer.steps = segment.step + result.steps_done
            raise result.error or KeyboardInterrupt

    def _stopped(self, result: RunResult, segment: Segment) -> None:
        """Raise what ended a run early."""
        if result.stopped == "interrupt":
            raise result.error or KeyboardInterrupt
        bad = result.steps_done
        self._recovery.add(segment)
        self._recovery.roll_back(segment.step + bad - 1)
        step, value = segment.first + bad + 1, float(result.values[bad, 0])
        known_good = segment.step + bad > self._first_step
        kept = "the last good parameters" if known_good else "the parameters from before this call"
        cause = self._cause(segment, bad)
        advice = _ADVICE if cause is None else str(cause)
        raise NonFiniteError(
            f"Trainer.fit: the loss is {value} in epoch {segment.epoch}, step {step}{self._of()}; "
            f"{kept} are kept. {advice}",
            segment.epoch,
            step,
            value,
        ) from cause

    def _cause(self, segment: Segment, bad: int) -> Exception | None:
        """Inside ``detect_anomaly``: what made a loss non-finite, found by doing the step with the
        last finite loss and then the one after it op by op. All is as before afterwards."""
        if anomaly.active() is None:
            return None
        good = self._optimizer.steps
        cause = None
        for k in (bad - 1, bad):
            first = segment.first + k
            if cause is not None or first < 0:
                continue
            self._recovery.roll_back(segment.step + k)
            if self._optimizer.steps == segment.step + k:
                chunk = self._feed.at(segment.epoch, first)
                assert chunk is not None
                cause = self._explain(chunk.sources, chunk.rows_of(first, 1))
        self._recovery.roll_back(good)
        return cause

    def _tell(self, values: NDArray[np.float64], epochs_done: int, done: int) -> None:
        if self._callbacks.watches_steps:
            first_step = self._optimizer.steps - len(values)
            self._callbacks.steps_end(first_step, values[:, 0].copy())
        steps = self._feed.steps
        if self._progress is not None and steps is not None and done < steps:
            self._progress.steps_done(epochs_done, done, steps)

    def _of(self) -> str:
        return "" if self._feed.steps is None else f" of {self._feed.steps}"


_ADVICE = "A smaller learning rate, or inputs and targets scaled to about 1, usually help"
