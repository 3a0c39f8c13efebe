"""Callbacks that keep the best weights, or end the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import integer, real_number
from fastprop.train.callbacks import Callback, Logs
from fastprop.train.errors import NonFiniteError
from fastprop.train.inputs import validation_parts
from fastprop.train.monitor import Monitor

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer


class BestWeights(Callback):
    """Keeps the model of the best epoch, and puts it back when the training has ended.

    ``fit(max_seconds=…)`` uses one of its own where there is a validation. After an error or Ctrl-C
    the model stays as it is.

    Args:
        monitor: What it goes by.
        mode: ``"min"``, ``"max"``, or ``"auto"``: a metric says itself, a loss is to be small.

    Attributes:
        best: The best number, or NaN before the first epoch.
        best_epoch: Its epoch, or 0.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto") -> None:
        self._monitor = Monitor(type(self).__name__, monitor, mode)
        self.best = math.nan
        self.best_epoch = 0
        self._weights: dict[str, NDArray[Any]] = {}

    def check(self, trainer: Trainer, validates: bool) -> None:
        self._monitor.check(trainer, validates)

    def on_train_begin(self, trainer: Trainer) -> None:
        self._monitor.begin(trainer)
        self.best, self.best_epoch, self._weights = math.nan, 0, {}

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> bool | None:
        value = self._monitor.value(logs)
        if not self._weights or self._monitor.better(value, self.best):
            self._keep(trainer, epoch, value)
        return None

    def _keep(self, trainer: Trainer, epoch: int, value: float) -> None:
        self.best, self.best_epoch = value, epoch
        live = trainer.model.state_dict(copy=False)
        if not self._weights:
            self._weights = {name: np.empty_like(array) for name, array in live.items()}
        for name, array in live.items():
            np.copyto(self._weights[name], array)

    def on_train_end(self, trainer: Trainer) -> None:
        if self._weights and not (trainer.fitting and trainer.fitting.failed):
            trainer.model.load_state_dict(self._weights)
        self._weights = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = float(state["best"]), int(state["best_epoch"])
        self._weights = {name: np.array(array) for name, array in state["weights"].items()}


class EarlyStopping(BestWeights):
    """Ends the training when a number of the epochs has not become better for some time.

    Args:
        monitor: Which number; ``val_…`` want a validation in ``fit``, or `validation_data` here.
        patience: Ends after so many epochs in a row that were no better; 0 is as 1.
        min_delta: Better is what is better by more than this.
        mode: ``"min"``, ``"max"``, or ``"auto"``: a metric says itself, a loss is to be small.
        restore_best_weights: Put the best epoch's model back when the training has ended.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after every epoch, of
            this callback's own; recorded as ``val_loss``, ….

    Attributes:
        best: The best number, or NaN before the first epoch.
        best_epoch: Its epoch, or 0.
        stopped_epoch: The epoch that it ended, or 0.

    Raises:
        ValueError: A negative patience or `min_delta`, an unknown mode; in ``fit``: a number that
            is not recorded.
        TypeError: A patience that is no integer, ….

    Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, 1998. Defaults
    but for the patience are Keras's; the best weights are kept by default.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
        validation_data: Any = None,
    ) -> None:
        super().__init__(monitor, mode)
        where = type(self).__name__
        self.patience = integer(where, "patience", patience)
        self.min_delta = real_number(where, "min_delta", min_delta)
        self.restore_best_weights = bool(restore_best_weights)
        self._validation: Sequence[Any] | None = None
        if validation_data is not None:
            self._validation = validation_parts(where, validation_data)
        self.stopped_epoch = 0
        self._waited = 0

    def check(self, trainer: Trainer, validates: bool) -> None:
        super().check(trainer, validates or self._validation is not None)
        if self._validation is not None:  # does it fit the model? Now, not after an epoch
            where = f"{type(self).__name__}: validation_data"
            x, y, weight = self._validation
            trainer._reader.source(where, x, y, weight, True)

    def on_train_begin(self, trainer: Trainer) -> None:
        super().on_train_begin(trainer)
        self.stopped_epoch, self._waited = 0, 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> bool | None:
        if self._validation is not None:
            x, y, weight = self._validation
            found = trainer.evaluate(x, y, sample_weight=weight)
            logs.update({f"val_{name}": value for name, value in found.items()})
        value = self._monitor.value(logs)
        if not self.best_epoch or self._monitor.better(value, self.best, self.min_delta):
            self._waited = 0
            self._keep(trainer, epoch, value)
            return None
        self._waited += 1
        if self._waited < max(self.patience, 1):
            return None
        self.stopped_epoch = epoch
        return True

    def _keep(self, trainer: Trainer, epoch: int, value: float) -> None:
        if self.restore_best_weights:
            super()._keep(trainer, epoch, value)
        self.best, self.best_epoch = value, epoch

    def state_dict(self) -> dict[str, Any]:
        more = {"waited": self._waited, "stopped_epoch": self.stopped_epoch}
        return {**super().state_dict(), **more}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._waited, self.stopped_epoch = int(state["waited"]), int(state["stopped_epoch"])


class TerminateOnNaN(Callback):
    """Ends ``fit`` quietly when a loss or a parameter is NaN or infinite, instead of an error.

    The model is as it was for the last finite loss; ``history.notes`` says what happened.

    Attributes:
        error: The :class:`NonFiniteError` of the latest ``fit``, or ``None``.
    """

    def __init__(self) -> None:
        self.error: NonFiniteError | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        self.error = None

    def on_nonfinite(self, trainer: Trainer, error: NonFiniteError) -> bool:
        self.error = error
        return True
