"""Code of the user that a Trainer calls while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer

Logs = dict[str, float]


class Callback:
    """Base class: override what you need; what is not overridden costs nothing.

    A hook that returns ``True`` (the first three below) or calls ``trainer.stop()`` ends the
    training after the present epoch, or after the present steps in :meth:`on_steps_end`. Exceptions
    pass through ``fit``, and leave the model usable.

    .. code-block:: python

        class StopWhenGood(fp.Callback):
            def on_epoch_end(self, trainer, epoch, logs):
                return logs["val_accuracy"] > 0.99
    """

    def on_train_begin(self, trainer: Trainer) -> bool | None:
        """Called by ``fit`` when everything is checked, before the first step."""
        return None

    def on_steps_end(
        self, trainer: Trainer, first_step: int, losses: NDArray[np.float64]
    ) -> bool | None:
        """Called after every run of steps: some times a second, and at the end of every epoch.

        Args:
            trainer: Who calls.
            first_step: Number of the first of these steps, from 0, over all calls of ``fit``.
            losses: The loss of each step, float64 ``[steps]``.
        """
        return None

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> bool | None:
        """Called after every epoch.

        Args:
            trainer: Who calls.
            epoch: Number of the epoch, from 1.
            logs: What the history records of it: ``loss``, ``val_loss``, metrics. Numbers that are
                added here are recorded too.
        """
        return None

    def on_train_end(self, trainer: Trainer) -> None:
        """Called once at the end, also after an error or Ctrl-C."""
        return None


class CallbackList:
    """The callbacks of one ``fit``; knows which hooks anybody has overridden."""

    def __init__(self, trainer: Trainer, callbacks: Sequence[Callback]) -> None:
        self._trainer = trainer
        self._begin = _overriding(callbacks, "on_train_begin")
        self._steps = _overriding(callbacks, "on_steps_end")
        self._epoch = _overriding(callbacks, "on_epoch_end")
        self._end = _overriding(callbacks, "on_train_end")

    @property
    def watches_steps(self) -> bool:
        return bool(self._steps)

    @property
    def watches_epochs(self) -> bool:
        return bool(self._epoch)

    def train_begin(self) -> None:
        for callback in self._begin:
            if callback.on_train_begin(self._trainer):
                self._trainer.stop()

    def steps_end(self, first_step: int, losses: NDArray[np.float64]) -> None:
        for callback in self._steps:
            if callback.on_steps_end(self._trainer, first_step, losses):
                self._trainer.stop()

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        for callback in self._epoch:
            if callback.on_epoch_end(self._trainer, epoch, logs):
                self._trainer.stop()

    def train_end(self) -> None:
        for callback in self._end:
            callback.on_train_end(self._trainer)


def _overriding(callbacks: Sequence[Callback], hook: str) -> list[Callback]:
    """Callbacks that define `hook`, in their class or as an attribute of their own."""
    base = getattr(Callback, hook)
    return [c for c in callbacks if getattr(getattr(c, hook), "__func__", None) is not base]


def check_callbacks(where: str, callbacks: Sequence[Callback] | Callback) -> list[Callback]:
    """A list of callbacks.

    Raises:
        TypeError: Something in it is no :class:`Callback`, such as a class instead of an object.
    """
    items: list[Any] = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for item in items:
        if not isinstance(item, Callback):
            what = f"the class {item.__name__}" if isinstance(item, type) else f"{item!r}"
            raise TypeError(f"{where}: callbacks must be fastprop.Callback objects, got {what}")
    return items
