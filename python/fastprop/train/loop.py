"""Epochs: one run of a Program each, or a few where an epoch is long, or one for several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data import Dataset
from fastprop.data.reading import Reading
from fastprop.graph.program import RunResult
from fastprop.train.callbacks import CallbackList
from fastprop.train.feed import ArrayFeed, Chunk, chunk_at, feed_of, of_steps
from fastprop.train.non_finite import NonFinite
from fastprop.train.pace import Pace
from fastprop.train.progress import Watcher
from fastprop.train.recovery import Recovery, Segment
from fastprop.train.runs import Run, Runs, TracedProgram

if TYPE_CHECKING:
    from fastprop.optim import Optimizer
    from fastprop.train.streams import StreamData

# How long Python stays away. Every run packs the weights anew, so short runs of large models cost.
_WATCHED_SECONDS = 0.2
_UNWATCHED_SECONDS = 2.0
_MOST_ROWS = 1 << 18  # row numbers made for one run of several epochs: 2 MB
_MOST_EPOCHS = 128  # of which one run is made


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

    Attributes:
        pace: The clock that training has to keep up with, or ``None``.
        seconds: Time of the runs so far.
        done: Steps of the present epoch that are done.
        rows: Rows of these, or of the latest epoch.
        stop_requested: True ends the training after the run that is going on.
        at_rest: False while a run or its record is in the making; else all fits together.
        interrupted: True if a signal ended a run, after a whole step.
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
        progress: Watcher | None,
        explain: Callable[[list[NDArray[Any]], NDArray[np.int64]], Exception | None],
    ) -> None:
        self._feed = feed_of(data, Reading(batch_size, shuffle, seed, drop_last), last_epoch)
        self._batch = batch_size
        self._seed = seed
        self._optimizer = optimizer
        self._callbacks = callbacks
        self._progress = progress
        watched = progress is not None or callbacks.watches_steps
        self._run_seconds = _WATCHED_SECONDS if watched else _UNWATCHED_SECONDS
        self._explain = explain
        self.go_on_with(traced)
        self._last_step = 0  # of the latest epoch
        self._parts: list[NDArray[np.float64]] = []
        self.pace: Pace | None = None
        self.seconds = 0.0
        self.done = 0
        self.rows = 0
        self.stop_requested = False
        self.at_rest = True
        self.interrupted = False
        self._failure: tuple[RunResult, Segment] | None = None

    def go_on_with(self, traced: TracedProgram) -> None:
        """Train with this Program from now on; a loss that is not finite goes back to here."""
        optimizer = self._optimizer
        self._traced = traced
        self._recovery = Recovery(traced.changed_arrays(), optimizer, self._replay)
        self._non_finite = NonFinite(self._feed, self._recovery, optimizer, self._explain)

    @property
    def steps(self) -> int | None:
        """Steps of an epoch, where that is known."""
        return self._feed.steps

    @property
    def values(self) -> NDArray[np.float64] | None:
        """What the steps of the present epoch recorded, ``[done, scalars]``."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else None

    def close(self) -> None:
        """Nothing more will be run."""
        self._feed.close()
        self._recovery.close()  # as large as the model, and in a circle with this runner
        self._traced.chooser.beside = 0

    def run(self, epoch: int, epochs_done: int) -> Runs[NDArray[np.float64] | None]:
        """Train one epoch, or what is left of it after the first :attr:`done` steps.

        Args:
            epoch: Its number; decides the order of the rows.
            epochs_done: Epochs done in this ``fit``, for the progress bar.

        Returns:
            What the steps recorded, ``[steps, scalars]``; ``None`` if :attr:`stop_requested` ended
            it early.

        Raises:
            NonFiniteError: A loss was NaN or infinite; the last good parameters are back.
            KeyboardInterrupt: Ctrl-C (or what another signal handler raised), after a whole step.
        """
        self._recovery.before_run(always=self._callbacks.watches_epochs)
        if not self.done:
            self.rows = 0
        first = self.done
        while (chunk := self._feed.at(epoch, self.done)) is not None:
            if self.done > first:
                if self.stop_requested:
                    return None
                self._recovery.before_run()
            count = self._next_count(chunk.first + chunk.steps - self.done)
            part = yield from self._run(chunk, epoch, self.done, count)
            self._last_step = self.done
            self._tell(part, epochs_done)
        self.at_rest = False  # until the epoch is recorded
        values = self.values
        self._begin_epoch()
        return values

    def cut_short(self) -> NDArray[np.float64]:
        """End the present epoch where it is; what its steps recorded."""
        values = self.values
        assert values is not None
        self._begin_epoch()
        return values

    def _begin_epoch(self) -> None:
        self.done, self._parts = 0, []

    def go_on(self, done: int, rows: int, values: NDArray[np.float64] | None) -> None:
        """Begin in the middle of an epoch.

        Args:
            done: Steps of it that are done.
            rows: Their rows.
            values: What they recorded, ``[done, scalars]``.

        Raises:
            ValueError: That is no place in such an epoch.
        """
        of = of_steps(self._feed)
        if done < 0 or (self.steps is not None and done > self.steps):
            raise ValueError(f"Trainer.fit: cannot go on after step {done}{of}")
        count = 0 if values is None else len(values)
        if count != done or (values is not None and values.ndim != 2):
            raise ValueError(f"Trainer.fit: cannot go on after step {done}{of}, {count} recorded")
        self.done, self.rows = done, rows
        self._parts = [] if values is None else [np.asarray(values, dtype=np.float64)]

    def epochs_at_once(self, wanted: int) -> int:
        """How many whole epochs fit into the next run, if nobody has to be told of each."""
        feed = self._feed
        known = isinstance(feed, ArrayFeed) and self._traced.in_one_call
        if not known or self.done or self.pace is not None or self._callbacks.watches:
            return 1
        assert feed.rows is not None
        assert feed.steps is not None
        most = min(wanted, _MOST_EPOCHS, max(1, _MOST_ROWS // feed.rows))
        return max(1, self._next_count(most * feed.steps) // feed.steps)

    def run_epochs(self, epoch: int, count: int) -> Runs[NDArray[np.float64]]:
        """Train several epochs in one run.

        Args:
            epoch: Number of the first of them.
            count: How many.

        Returns:
            What the steps of each recorded, ``[epochs, steps, scalars]``: of the whole ones, if the
            run ended early. Then :meth:`check` raises what ended it.
        """
        steps, rows = self._feed.steps, self._feed.rows
        assert steps is not None
        assert rows is not None
        self.at_rest = False  # until the last of them is recorded
        self._recovery.before_run()
        step = self._optimizer.steps
        scalars = self._optimizer.step_scalars(step, count * steps)
        segment = Segment(epoch, 0, count * steps, step, scalars)
        result = yield from self._perform(segment)
        if result.stopped == "done":
            self._recovery.add(segment)
        else:
            self._failure = result, segment
        self.rows, self._last_step = rows, steps
        whole = result.steps_done // steps
        return result.values[: whole * steps].reshape(whole, steps, result.values.shape[1])

    def check(self) -> Runs[None]:
        """Raise what ended :meth:`run_epochs` early, as :meth:`run` does."""
        if self._failure is not None:
            (result, segment), self._failure = self._failure, None
            yield from self._stopped(result, segment)

    def check_parameters(self, epoch: int) -> Runs[None]:
        """After the last step.

        Raises:
            NonFiniteError: It made a parameter NaN or infinite; the parameters before it are back.
        """
        yield from self._non_finite.check_parameters(epoch, self._last_step)

    # -- runs -----------------------------------------------------------------------------------

    def _next_count(self, remaining: int) -> int:
        """Steps of the next run."""
        chooser = self._traced.chooser
        due = self._callbacks.steps_until_due()
        if due is not None:
            remaining = min(remaining, due)
        chooser.beside = 1 if self._feed.reading else 0
        if chooser.makes_room:
            return min(remaining, chooser.steps_beside())
        _, look = chooser.next()
        if look or chooser.step_seconds is None:
            return min(remaining, chooser.look_steps())
        seconds = self._run_seconds
        if self.pace is not None:
            seconds = min(seconds, _WATCHED_SECONDS, self.pace.left)
        count = max(1, int(seconds / chooser.step_seconds))
        return remaining if 2 * remaining <= 3 * count else count  # no stub at the end

    def _run(self, chunk: Chunk, epoch: int, first: int, count: int) -> Runs[NDArray[np.float64]]:
        self.at_rest = False
        optimizer = self._optimizer
        step = optimizer.steps
        rates = None
        if self.pace is not None:
            rates = self.pace.tempo(self._traced.chooser.step_seconds)
        segment = Segment(epoch, first, count, step, optimizer.step_scalars(step, count, rates))
        result = yield from self._perform(segment, chunk)
        if result.steps_done:
            self._parts.append(result.values[: result.steps_done])
            self.done += result.steps_done
            self.rows += len(chunk.rows_of(first, result.steps_done))
        if result.stopped != "done":
            yield from self._stopped(result, segment)
        self._recovery.add(segment)
        return result.values

    def _perform(self, segment: Segment, chunk: Chunk | None = None) -> Runs[RunResult]:
        """Do a segment and count its steps, also those of a run whose result was lost."""
        program = self._traced.program
        runs_before, _ = program.latest()
        try:
            request = self._request(segment, segment.steps, chunk)
            result = yield request._replace(copies=self._recovery.wanted())
            self._optimizer.steps = segment.step + result.steps_done
            if result.copy_seconds is not None:
                self._recovery.copied(segment.step, result.copy_seconds)
        except BaseException:  # Ctrl-C in Python, between the end of the run and the line above
            runs, steps = program.latest()
            if runs > runs_before and self._traced.in_one_call:
                self._optimizer.steps = segment.step + steps
            raise
        finally:
            _core.mark_changed(self._optimizer.parameters)
        self.seconds += result.seconds
        return result

    def _request(self, segment: Segment, count: int, chunk: Chunk | None = None) -> Run:
        """The first steps of a segment as a run.

        Args:
            segment: Steps of one epoch, or of several from the first step on.
            count: How many of them.
            chunk: Where their rows are, if that is known.
        """
        feed, epoch_rows = self._feed, 0
        if isinstance(feed, ArrayFeed) and segment.first + count > feed.steps:
            epochs, rest = divmod(count, feed.steps)
            sources, epoch_rows = feed.sources, feed.rows
            order = feed.rows_of_epochs(segment.epoch, epochs)
            if rest:
                last = chunk_at(self._feed, segment.epoch + epochs, 0).rows_of(0, rest)
                order = np.concatenate([order, last])
        else:
            chunk = chunk or chunk_at(self._feed, segment.epoch, segment.first)
            sources, order = chunk.sources, chunk.rows_of(segment.first, count)
        return Run(
            self._traced,
            sources,
            order,
            self._batch,
            segment.scalars[:count],
            segment.step,
            self._seed,
            epoch_rows=epoch_rows,
        )

    def _replay(self, segment: Segment, count: int) -> Runs[None]:
        result = yield self._request(segment, count)
        if result.stopped == "interrupt":
            self._optimizer.steps = segment.step + result.steps_done
            raise result.error or KeyboardInterrupt

    def _stopped(self, result: RunResult, segment: Segment) -> Runs[None]:
        """Raise what ended a run early."""
        if result.stopped == "interrupt":
            self.at_rest = self.interrupted = True
            raise result.error or KeyboardInterrupt
        self._recovery.add(segment)
        bad = result.steps_done
        loss = float(result.values[bad, 0])
        yield from self._non_finite.stop(segment, bad, loss, began_well=result.began_well)

    def _tell(self, values: NDArray[np.float64], epochs_done: int) -> None:
        if self._callbacks.watches_steps:
            first_step = self._optimizer.steps - len(values)
            self._callbacks.steps_end(first_step, values[:, 0].copy())
        if self.pace is not None and self.pace.over:
            self.stop_requested = True
        steps = self._feed.steps
        if self._progress is not None and steps is not None and self.done < steps:
            self._progress.steps_done(epochs_done, self.done, steps)
        self.at_rest = True
        self._callbacks.save_point()
