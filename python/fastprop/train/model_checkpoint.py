"""Writes what a training is to a file now and then, so that it can be killed at any moment."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastprop.checks import integer, real_number
from fastprop.train.callbacks import Callback, Logs
from fastprop.train.checkpoint import Photographer
from fastprop.train.monitor import Monitor
from fastprop.train.writer import BackgroundWriter

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer


class ModelCheckpoint(Callback):
    """Keeps a file from which ``Trainer.resume(path)`` goes on, bit for bit.

    It holds everything: weights, optimizer, random numbers, place in the epoch, history, and what
    callbacks know. It is written whole or not at all, so whenever the process is killed, the file
    is that of the latest checkpoint or the one before. Writing happens on another thread: the
    training waits for a copy in memory. Where it fails (a full disk, a folder that cannot be
    written) there is a warning, the training goes on, and the previous file is kept.

    After Ctrl-C, and after other signals whose handlers raise, the last whole step is saved too.

    Args:
        path: The file. Its folder has to exist. One process at a time may write there.
        every_steps: Save when the optimizer's steps are a multiple of this.
        every_seconds: Save when so much time has gone since the last time.
        every_epochs: Save after so many epochs; 1 if nothing else is given.
        monitor: Which number of the epochs says how good the model is.
        mode: ``"min"``, ``"max"``, or ``"auto"``: a metric says itself, a loss is to be small.
        save_best_only: Save only after an epoch that is the best one so far.

    Raises:
        ValueError: A number out of its range; `save_best_only` with steps or seconds.
        TypeError: Not a number, not a path.
        FileNotFoundError: In ``fit``: the folder does not exist.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        every_epochs: int | None = None,
        monitor: str = "val_loss",
        mode: str = "auto",
        save_best_only: bool = False,
    ) -> None:
        where = "ModelCheckpoint"
        self.path = Path(path)
        if every_steps is not None:
            every_steps = integer(where, "every_steps", every_steps, least=1)
        if every_seconds is not None:
            every_seconds = real_number(where, "every_seconds", every_seconds)
        if every_epochs is not None:
            every_epochs = integer(where, "every_epochs", every_epochs, least=1)
        by_epochs = every_steps is None and every_seconds is None
        if save_best_only and not by_epochs:
            raise ValueError(f"{where}: save_best_only goes by epochs, not by steps or seconds")
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.every_epochs = 1 if every_epochs is None and by_epochs else every_epochs
        self._monitor = Monitor(where, monitor, mode) if save_best_only else None
        self._best = math.nan
        self._due = False
        self._saved_at = -1
        self._saved_time = 0.0
        self._warned = ""
        self._photographer: Photographer | None = None
        self._writer: BackgroundWriter | None = None

    def check(self, trainer: Trainer, validates: bool) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"ModelCheckpoint: the folder {folder} does not exist")
        if self.path.is_dir():
            raise IsADirectoryError(f"ModelCheckpoint: {self.path} is a folder")
        if self._monitor is not None:
            self._monitor.check(trainer, validates)

    def on_train_begin(self, trainer: Trainer) -> None:
        if self._monitor is not None:
            self._monitor.begin(trainer)
        self._best, self._due, self._saved_at, self._warned = math.nan, False, -1, ""
        self._saved_time = perf_counter()
        self._photographer = Photographer(trainer)
        self._writer = BackgroundWriter(self.path)
        self._writer.prepare(self._photographer.take())

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> None:
        if self.every_epochs is None or epoch % self.every_epochs:
            return
        if self._monitor is not None:
            value = self._monitor.value(logs)
            if not self._monitor.better(value, self._best):
                return
            self._best = value
        self._due, self._saved_at = True, -1

    def steps_until_due(self, trainer: Trainer) -> int | None:
        if self.every_steps is None:
            return None
        return self.every_steps - trainer.optimizer.steps % self.every_steps

    def on_save_point(self, trainer: Trainer) -> None:
        steps = trainer.optimizer.steps
        due = self._due or (self.every_steps is not None and steps % self.every_steps == 0)
        if self.every_seconds is not None:
            due = due or perf_counter() - self._saved_time >= self.every_seconds
        if due and steps != self._saved_at:
            self._save(steps)
        self._report()

    def on_train_end(self, trainer: Trainer) -> None:
        fitting, writer = trainer.fitting, self._writer
        if writer is None:
            return
        if fitting is not None and fitting.interrupted:
            self._save(trainer.optimizer.steps)
        writer.finish()
        self._report()
        self._photographer = self._writer = None

    def _save(self, steps: int) -> None:
        assert self._photographer is not None
        assert self._writer is not None
        self._due, self._saved_at = False, steps
        self._writer.submit(self._photographer.take())
        self._saved_time = perf_counter()

    def _report(self) -> None:
        """Warn, once for each reason, if the file could not be written."""
        failure = self._writer.failure() if self._writer is not None else None
        if failure is not None and str(failure) != self._warned:
            self._warned = str(failure)
            warnings.warn(
                f"ModelCheckpoint: {self.path} was not written: {failure}. The training goes on",
                RuntimeWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best} if self._monitor is not None else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best = float(state["best"])
