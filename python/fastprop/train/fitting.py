"""One call of ``fit``: its epochs, and what may end it early."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.registry import type_name
from fastprop.train.callbacks import Callback, CallbackList
from fastprop.train.checkpoint import ResumePoint, fingerprint
from fastprop.train.early_stopping import BestWeights
from fastprop.train.errors import NonFiniteError
from fastprop.train.history import History
from fastprop.train.loop import EpochRunner
from fastprop.train.pace import Pace
from fastprop.train.programs import TracedProgram
from fastprop.train.progress import Progress
from fastprop.train.streams import StreamData

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer

Explain = Callable[[list[NDArray[Any]], NDArray[np.int64]], Exception | None]


class Fit:
    """A ``fit`` while it goes on; callbacks find it as ``trainer.fitting``.

    Args:
        trainer: Whose ``fit``.
        traced: The training Program.
        data: Rows to train on.
        held_out: Rows to validate with, or ``None``.
        history: Where epochs are recorded.
        callbacks: Who is told.
        explain: Does the step of some rows op by op; gives what came out that is not finite.
        epochs: How many epochs; ``None`` for as many as fit into `max_seconds`.
        batch_size: Rows of a step.
        mixup: What the Program was made for.
        shuffle: New order in every epoch.
        drop_last: Leave out a last batch that would be short.
        max_seconds: The time that it may take, or ``None``.
        verbose: Progress bar; ``None`` shows one on a terminal only.

    Attributes:
        epochs: As given.
        data: As given.
        epochs_done: Epochs done in this ``fit``.
        failed: True if an exception ended it.
        ended: True if all was done, or if somebody asked to stop.
    """

    def __init__(
        self,
        trainer: Trainer,
        traced: TracedProgram,
        data: Dataset | StreamData,
        held_out: Dataset | StreamData | None,
        history: History,
        callbacks: Sequence[Callback],
        explain: Explain,
        *,
        epochs: int | None,
        batch_size: int,
        mixup: float,
        shuffle: bool,
        drop_last: bool,
        max_seconds: float | None,
        verbose: bool | None,
    ) -> None:
        self.trainer = trainer
        self.epochs = epochs
        self.epochs_done = 0
        self.failed = False
        self._interrupted = False
        self.history = history
        self.data = data
        self._traced = traced
        self._held_out = held_out
        self._known_data: int | None = None
        self._batch = batch_size
        # What has to be the same where a fit goes on.
        self._arguments: dict[str, Any] = {
            "rows": data.count,
            "batch_size": batch_size,
            "shuffle": bool(shuffle),
            "drop_last": bool(drop_last),
            "mixup": float(mixup),
            "sampler": getattr(data, "sampled", None) is not None,
            "weights": data.weight is not None,
            "validation rows": 0 if held_out is None else held_out.count,
        }
        self._max_seconds = max_seconds
        best = [BestWeights()] if max_seconds is not None and held_out is not None else []
        self.callbacks = [*callbacks, *best]
        self._called = CallbackList(trainer, self.callbacks)
        self._progress = Progress(epochs) if epochs and Progress.wanted(verbose) else None
        self._runner = EpochRunner(
            traced,
            data,
            batch_size=batch_size,
            drop_last=drop_last,
            shuffle=shuffle,
            seed=trainer.seed,
            last_epoch=sys.maxsize if epochs is None else trainer.epoch + epochs,
            optimizer=trainer.optimizer,
            callbacks=self._called,
            progress=self._progress,
            explain=explain,
        )
        self._pace: Pace | None = None

    @property
    def interrupted(self) -> bool:
        """True if a signal ended it, such as Ctrl-C, and all is at rest as at a save point."""
        return self._interrupted and self._runner.at_rest

    @property
    def ended(self) -> bool:
        return self._runner.stop_requested or self.epochs_done == self.epochs

    @property
    def validates(self) -> bool:
        """True if epochs are followed by a validation."""
        return self._held_out is not None

    def stop(self) -> None:
        """End after the run that is going on."""
        self._runner.stop_requested = True

    def run(self) -> History:
        """Do it all."""
        trainer = self.trainer
        point = trainer.resume_point
        if point is not None:
            self._check_same(point)
        trainer.fitting, trainer.history, trainer.program = self, self.history, self._traced.program
        try:
            self._called.train_begin()
            if point is not None:
                self._go_on(point)
            self._begin_pace(0.0 if point is None else float(point.state["seconds"]))
            self._epochs()
        except NonFiniteError as error:
            if not self._called.nonfinite(error):
                self.failed = True
                raise
            self.history.notes.append(str(error))
        except BaseException as error:
            self.failed = True
            # A signal's handler may raise whatever it likes; this is what it does as a rule.
            self._interrupted = self._runner.interrupted or not isinstance(error, Exception)
            raise
        finally:
            self._runner.close()
            if self._progress is not None:
                self._progress.close()
            try:
                self._called.train_end()
            finally:
                trainer.fitting = None
        return self.history

    # -- checkpoints ---

    def state_dict(self) -> dict[str, Any]:
        """Where it is, for a checkpoint. Arrays are not copies."""
        runner = self._runner
        return {
            "arguments": self._arguments,
            "fingerprint": self._fingerprint(),
            "epochs_done": self.epochs_done,
            "steps_done": runner.done,
            "rows_done": runner.rows,
            "values": runner.values,
            "stopped": runner.stop_requested,
            "seconds": 0.0 if self._pace is None else self._pace.used,
            "callbacks": [_state_of(callback) for callback in self.callbacks],
        }

    def _fingerprint(self) -> int:
        if self._known_data is None:
            self._known_data = fingerprint(self.data)
        return self._known_data

    def _check_same(self, point: ResumePoint) -> None:
        saved = point.state["arguments"]
        other = [
            f"{name} {value} instead of {saved.get(name)}"
            for name, value in self._arguments.items()
            if saved.get(name) != value
        ]
        if other:
            raise ValueError(
                f"Trainer.fit: goes on with the fit in {point.path}, which had other arguments: "
                f"{', '.join(other)}. For a new fit from where that was, set "
                "trainer.resume_point = None"
            )
        if point.state["fingerprint"] != self._fingerprint():
            warnings.warn(
                f"Trainer.fit: goes on with the fit in {point.path}, but with other data than "
                "that had",
                UserWarning,
                stacklevel=4,
            )

    def _go_on(self, point: ResumePoint) -> None:
        """Be where the checkpoint was taken."""
        state, runner = point.state, self._runner
        self.trainer.resume_point = None
        self.history.load_state_dict(point.history)
        self.epochs_done = int(state["epochs_done"])
        runner.stop_requested = runner.stop_requested or bool(state["stopped"])
        runner.go_on(int(state["steps_done"]), int(state["rows_done"]), state["values"])
        _load_states(self.callbacks, state["callbacks"])

    # -- epochs ---

    def _begin_pace(self, used: float) -> None:
        if self._max_seconds is not None:
            steps = self._runner.steps
            planned = None if self.epochs is None or steps is None else self.epochs * steps
            self._pace = Pace(self._max_seconds, self.trainer.optimizer, planned, used)
            self._runner.pace = self._pace

    def _epochs(self) -> None:
        trainer, runner = self.trainer, self._runner
        while not self.ended:
            started = time.perf_counter()
            values = runner.run(trainer.epoch + 1, self.epochs_done)
            if values is None:
                if self._pace is None or not self._pace.over or not runner.done:
                    break
                values = self._cut_short()
            seconds = time.perf_counter() - started
            trainer.epoch += 1
            self.epochs_done += 1
            logs = self._logs(values, runner.rows)
            if self._called.watches_epochs:
                self._called.epoch_end(trainer.epoch, logs)
            self.history.append(trainer.epoch, logs, seconds)
            if self._progress is not None:
                self._progress.epoch_done(self.epochs_done, logs)
            runner.at_rest = True
            self._called.save_point()
        runner.check_parameters(trainer.epoch)

    def _cut_short(self) -> NDArray[np.float64]:
        """What is known of an epoch that the clock has ended."""
        runner = self._runner
        of = "" if runner.steps is None else f" of {runner.steps}"
        self.history.notes.append(
            f"the time was up in epoch {self.trainer.epoch + 1}, after step {runner.done}{of}"
        )
        return runner.cut_short()

    def _logs(self, values: NDArray[np.float64], rows: int) -> dict[str, float]:
        trainer = self.trainer
        logs = trainer.objective.summarize(values, self._traced.columns, rows, self._batch)
        if self._held_out is not None:
            started = time.perf_counter()
            found = trainer.inference.evaluate("Trainer.fit", self._held_out)
            logs.update({f"val_{name}": value for name, value in found.items()})
            if self._pace is not None:
                self._pace.reserve(time.perf_counter() - started)
        return logs


def _state_of(callback: Any) -> dict[str, Any]:
    take = getattr(callback, "state_dict", None)
    return {"type": type_name(callback), "state": {} if take is None else take()}


def _load_states(callbacks: Sequence[Any], saved: Sequence[Mapping[str, Any]]) -> None:
    """Give callbacks the state of those of the same class, in their order."""
    left = [item for item in saved if item["state"]]
    for callback in callbacks:
        found = next((item for item in left if item["type"] == type_name(callback)), None)
        if found is not None:
            left.remove(found)
            callback.load_state_dict(found["state"])
    for item in left:
        warnings.warn(
            f"Trainer.fit: goes on without the {item['type']} that the fit had",
            UserWarning,
            stacklevel=5,
        )
