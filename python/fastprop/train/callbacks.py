"""Code of the user that a Trainer calls while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.train.errors import NonFiniteError

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

    Any object with one of these methods will do; it need not derive from this class. Callbacks in
    scikit-learn's style (``on_fit_task_end``) are taken as well.

    A callback with memory defines :meth:`state_dict` and :meth:`load_state_dict` too: then a
    training that goes on from a checkpoint finds it as it was.
    """

    def check(self, trainer: Trainer, validates: bool) -> None:
        """Called before anything is done, to raise what is wrong.

        ``fit_many`` asks the callbacks of all its trainers before the first of them trains.

        Args:
            trainer: Who is going to train.
            validates: True if epochs will be followed by a validation.
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

    def steps_until_due(self, trainer: Trainer) -> int | None:
        """At most how many steps may be done before :meth:`on_save_point` is called again.

        ``None`` if it does not matter. Weights do not depend on it.
        """
        return None

    def on_save_point(self, trainer: Trainer) -> None:
        """Called when all is at rest: after a run of steps, and after an epoch and its record.

        All other hooks of that moment have been called: what a training is can be copied now.
        """
        return None

    def on_nonfinite(self, trainer: Trainer, error: NonFiniteError) -> bool | None:
        """Called when a loss was not finite, with the last good parameters back in place.

        Returns:
            ``True`` lets ``fit`` end and return its history; else the error goes on to the caller.
        """
        return None

    def on_train_end(self, trainer: Trainer) -> None:
        """Called once at the end, also after an error or Ctrl-C (``trainer.fitting.failed``)."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What has to be known to go on: numbers, strings, arrays, and lists and dicts of these."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; called after :meth:`on_train_begin`."""


_HOOKS = (
    "on_train_begin",
    "on_steps_end",
    "on_epoch_end",
    "steps_until_due",
    "on_save_point",
    "on_nonfinite",
    "on_train_end",
)
_SKLEARN_HOOK = "on_fit_task_end"


class CallbackList:
    """The callbacks of one ``fit``; knows which hooks anybody has."""

    def __init__(self, trainer: Trainer, callbacks: Sequence[Any]) -> None:
        self._trainer = trainer
        self._hooks = {hook: _defining(callbacks, hook) for hook in _HOOKS}
        # Other objects may mean something else by a method of this name.
        self._checking = [c for c in callbacks if isinstance(c, Callback)]

    @property
    def watches(self) -> bool:
        """True if somebody is to be told between the beginning and the end."""
        return self.watches_steps or self.watches_epochs or bool(self._hooks["steps_until_due"])

    @property
    def watches_steps(self) -> bool:
        hooks = self._hooks
        return bool(hooks["on_steps_end"] or hooks["on_save_point"])

    @property
    def watches_epochs(self) -> bool:
        return bool(self._hooks["on_epoch_end"])

    def check(self, validates: bool) -> None:
        """Raise what is wrong with one of them."""
        for callback in self._checking:
            callback.check(self._trainer, validates)

    def train_begin(self) -> None:
        self._tell("on_train_begin")

    def steps_end(self, first_step: int, losses: NDArray[np.float64]) -> None:
        self._tell("on_steps_end", first_step, losses)

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        self._tell("on_epoch_end", epoch, logs)

    def save_point(self) -> None:
        for callback in self._hooks["on_save_point"]:
            callback.on_save_point(self._trainer)

    def steps_until_due(self) -> int | None:
        asked = [c.steps_until_due(self._trainer) for c in self._hooks["steps_until_due"]]
        return min((max(1, steps) for steps in asked if steps is not None), default=None)

    def nonfinite(self, error: NonFiniteError) -> bool:
        """True if somebody takes it as an end like another."""
        asked = [c.on_nonfinite(self._trainer, error) for c in self._hooks["on_nonfinite"]]
        return any(asked)

    def train_end(self) -> None:
        for callback in self._hooks["on_train_end"]:
            callback.on_train_end(self._trainer)

    def _tell(self, hook: str, *arguments: Any) -> None:
        for callback in self._hooks[hook]:
            if getattr(callback, hook)(self._trainer, *arguments):
                self._trainer.stop()


def _defining(callbacks: Sequence[Any], hook: str) -> list[Any]:
    """Callbacks that define `hook`, in their class or as an attribute of their own."""
    base = getattr(Callback, hook)
    found = [(c, getattr(c, hook, None)) for c in callbacks]
    return [c for c, own in found if own and getattr(own, "__func__", None) is not base]


def check_callbacks(where: str, callbacks: Any) -> list[Any]:
    """A list of callbacks.

    Args:
        where: Who asks; starts the messages.
        callbacks: One or a list of: :class:`Callback`, an object with one of its hooks, a callback
            in scikit-learn's style.

    Raises:
        TypeError: Something else, such as a class instead of an object.
    """
    several = isinstance(callbacks, Iterable) and not _is_callback(callbacks)
    items = list(callbacks) if several and not isinstance(callbacks, str) else [callbacks]
    return [_check_callback(where, item) for item in items]


def _is_callback(item: Any) -> bool:
    return any(callable(getattr(item, hook, None)) for hook in (*_HOOKS, _SKLEARN_HOOK))


def _check_callback(where: str, item: Any) -> Any:
    if not isinstance(item, type) and _is_callback(item):
        if isinstance(item, Callback):
            return item
        if callable(getattr(item, _SKLEARN_HOOK, None)):
            from fastprop.train.sklearn_callbacks import SklearnCallback

            return SklearnCallback(item)
        return item
    what = f"the class {item.__name__}" if isinstance(item, type) else f"{item!r}"
    raise TypeError(
        f"{where}: callbacks must be fastprop.Callback objects or objects with hooks such as "
        f"on_epoch_end, got {what}"
    )
