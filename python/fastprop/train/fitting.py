"""One call of ``fit``: its epochs, and what may end it early."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.registry import type_name
from fastprop.train.adapt import adapt_layers, trace_unadapted
from fastprop.train.callbacks import Callback, CallbackList
from fastprop.train.errors import NonFiniteError
from fastprop.train.history import History
from fastprop.train.loop import EpochRunner
from fastprop.train.mixup import check_mixup
from fastprop.train.pace import Pace
from fastprop.train.progress import Watcher
from fastprop.train.runs import Making, Runs

if TYPE_CHECKING:
    from fastprop.train.checkpoint import ResumePoint
    from fastprop.train.streams import StreamData
    from fastprop.train.trainer import Trainer


class Fit:
    """A ``fit`` while it goes on; callbacks find it as ``trainer.fitting``.

    Args:
        trainer: Whose ``fit``.
        where: Who asks; starts the messages.
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
        progress: Told of epochs and steps, or ``None``.
        making: How Programs are made, if not as usual.

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
        where: str,
        data: Dataset | StreamData,
        held_out: Dataset | StreamData | None,
        history: History,
        callbacks: Sequence[Callback],
        *,
        epochs: int | None,
        batch_size: int,
        mixup: float,
        shuffle: bool,
        drop_last: bool,
        max_seconds: float | None,
        progress: Watcher | None = None,
        making: Making | None = None,
    ) -> None:
        count = data.count
        rows = None if count is None else count - count % batch_size if drop_last else count
        mix = check_mixup(where, mixup, trainer.loss)
        self._trace = lambda: trace_unadapted(
            trainer._programs, where, data, batch_size, rows, mix, making=making
        )
        traced = self._trace()
        self._where = where
        self.trainer = trainer
        self.epochs = epochs
        self.epochs_done = 0
        self.failed = False
        self._interrupted = False
        self.history = history
        self.data = data
        self._traced = traced
        self._made_for = trainer._programs.made_for
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
        self.callbacks = [*callbacks]
        if max_seconds is not None and held_out is not None:
            from fastprop.train.early_stopping import BestWeights

            self.callbacks.append(BestWeights())
        self._called = CallbackList(trainer, self.callbacks)
        self._progress = progress
        self._making = making
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
            explain=lambda sources, rows: trainer._programs.explain(
                data, sources, rows, trainer.seed, mix
            ),
        )
        self._pace: Pace | None = None
        self._begun = trainer.optimizer.steps, trainer.epoch

    @property
    def interrupted(self) -> bool:
        """True if a signal ended it, such as Ctrl-C, and all is at rest as at a save point."""
        return self._interrupted and self._runner.at_rest

    @property
    def ended(self) -> bool:
        done = self.epochs is not None and self.epochs_done >= self.epochs
        return self._runner.stop_requested or done

    @property
    def validates(self) -> bool:
        """True if epochs are followed by a validation."""
        return self._held_out is not None

    def stop(self) -> None:
        """End after the run that is going on."""
        self._runner.stop_requested = True

    def check(self) -> None:
        """Raise what the callbacks find wrong, and that a checkpoint is of another ``fit``."""
        self._called.check(self.validates)
        if self.trainer.resume_point is not None:
            self._check_same(self.trainer.resume_point)

    def runs(self) -> Runs[History]:
        """All that it takes."""
        trainer = self.trainer
        if trainer.fitting is not None:
            raise RuntimeError(
                f"{self._where}: this trainer is training already; a callback may evaluate and "
                "predict, or train another one"
            )
        self.check()
        adapt_layers(self._where, trainer.model, self.data)
        point = trainer.resume_point
        if point is not None:
            self._check_data(point)
        trainer.fitting, trainer.history, trainer.program = self, self.history, self._traced.program
        try:
            self._called.train_begin()
            if point is not None:
                self._go_on(point)
            self._begin_pace(0.0 if point is None else float(point.state["seconds"]))
            yield from self._epochs()
        except NonFiniteError as error:
            self.history.error = error.without_traceback()
            if not self._called.nonfinite(self.history.error):
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
                self._count_epochs()
        return self.history

    def _count_epochs(self) -> None:
        """Ctrl-C may have come after the last step of an epoch, and before it was counted."""
        (step, epoch), steps, trainer = self._begun, self._runner.steps, self.trainer
        if self._interrupted and steps:
            done = (trainer.optimizer.steps - step) // steps
            trainer.epoch = max(trainer.epoch, epoch + done)

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
            from fastprop.train.checkpoint import fingerprint

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

    def _check_data(self, point: ResumePoint) -> None:
        if point.state["fingerprint"] != self._fingerprint():
            warnings.warn(
                f"Trainer.fit: goes on with the fit in {point.path}, but with other data than "
                "that had",
                UserWarning,
                stacklevel=5,
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
            runner = self._runner
            steps = runner.steps
            planned = None if self.epochs is None or steps is None else self.epochs * steps
            done = self.epochs_done * (steps or 0) + runner.done
            self._pace = Pace(self._max_seconds, self.trainer.optimizer, planned, used, done)
            runner.pace = self._pace

    def _epochs(self) -> Runs[None]:
        trainer, runner = self.trainer, self._runner
        self._begun = trainer.optimizer.steps - runner.done, trainer.epoch
        while not self.ended:
            several = self._epochs_at_once()
            before = runner.seconds
            if several > 1:
                epochs = yield from runner.run_epochs(trainer.epoch + 1, several)
                for values in epochs:
                    seconds = (runner.seconds - before) / len(epochs)
                    yield from self._epoch_done(values, runner.rows, seconds)
                yield from runner.check()
                continue
            one = yield from runner.run(trainer.epoch + 1, self.epochs_done)
            if one is None:
                if self._pace is None or not self._pace.over or not runner.done:
                    break
                one = self._cut_short()
            yield from self._epoch_done(one, runner.rows, runner.seconds - before)
        yield from runner.check_parameters(trainer.epoch)

    def _epochs_at_once(self) -> int:
        if self._held_out is not None or self.epochs is None:
            return 1
        return self._runner.epochs_at_once(self.epochs - self.epochs_done)

    def _epoch_done(self, values: NDArray[np.float64], rows: int, seconds: float) -> Runs[None]:
        trainer = self.trainer
        trainer.epoch += 1
        self.epochs_done += 1
        columns = self._traced.columns
        logs = trainer.objective.summarize(values, columns, rows, self._batch)
        if self._held_out is not None:
            yield from self._validate(self._held_out, logs)
        if self._called.watches_epochs:
            self._called.epoch_end(trainer.epoch, logs)
            self._look_for_changes()
        self.history.append(trainer.epoch, logs, seconds)
        if self._progress is not None:
            self._progress.epoch_done(self.epochs_done, logs)
        self._runner.at_rest = True
        self._called.save_point()

    def _look_for_changes(self) -> None:
        """What callbacks froze, thawed or set (a weight decay) holds from the next epoch on."""
        made_for = self.trainer._programs.made_for
        if made_for == self._made_for:
            return
        self._made_for, traced = made_for, self._trace()
        if traced is not self._traced:
            self._traced, self.trainer.program = traced, traced.program
            self._runner.go_on_with(traced)

    def _cut_short(self) -> NDArray[np.float64]:
        """What is known of an epoch that the clock has ended."""
        runner = self._runner
        of = "" if runner.steps is None else f" of {runner.steps}"
        self.history.notes.append(
            f"the time was up in epoch {self.trainer.epoch + 1}, after step {runner.done}{of}"
        )
        return runner.cut_short()

    def _validate(self, held_out: Dataset | StreamData, logs: dict[str, float]) -> Runs[None]:
        started = time.perf_counter()
        found = yield from self.trainer.inference.evaluation(
            "Trainer.fit", held_out, making=self._making
        )
        logs.update({f"val_{name}": value for name, value in found.items()})
        if self._pace is not None:
            self._pace.reserve(time.perf_counter() - started)


def _state_of(callback: Any) -> dict[str, Any]:
    take = getattr(callback, "state_dict", None)
    return {"type": type_name(callback), "state": {} if take is None else take()}


def _load_states(callbacks: Sequence[Any], saved: Sequence[Mapping[str, Any]]) -> None:
    """Give callbacks the state of those of the same class, in their order."""
    left = [*saved]
    for callback in callbacks:
        at = next((i for i, s in enumerate(left) if s["type"] == type_name(callback)), None)
        state = {} if at is None else left.pop(at)["state"]
        if state:
            callback.load_state_dict(state)
    for item in (item for item in left if item["state"]):
        warnings.warn(
            f"Trainer.fit: goes on without the {item['type']} that the fit had",
            UserWarning,
            stacklevel=6,
        )
