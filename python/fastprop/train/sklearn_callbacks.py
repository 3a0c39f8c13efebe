"""Callbacks in scikit-learn's style: a fit is a tree of tasks, here of the epochs."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from fastprop.data import Dataset
from fastprop.registry import type_name
from fastprop.train.callbacks import Callback, Logs

if TYPE_CHECKING:
    from fastprop.train.trainer import Trainer


class Task:
    """A task of a fit, with the attributes of ``sklearn.callback.CallbackContext``.

    Attributes:
        task_name: ``"fit"`` or ``"epoch"``.
        task_id: Number among its siblings, from 0.
        max_subtasks: The most tasks below it; 0 for none, ``None`` if that is not known.
        estimator_name: What is fitted.
        parent: The task above, or ``None``.
        root_uuid: One for all tasks of a fit.
        init_time: When it began, UTC.
        sequential_subtasks: Always true.
    """

    sequential_subtasks = True
    source_estimator_name = None
    source_task_name = None

    def __init__(
        self, task_name: str, task_id: int, max_subtasks: int | None, above: Task | str
    ) -> None:
        self.task_name = task_name
        self.task_id = task_id
        self.max_subtasks = max_subtasks
        self.init_time = datetime.now(timezone.utc)
        self._children: list[Task] = []
        self.parent = above if isinstance(above, Task) else None
        self.estimator_name: str = above.estimator_name if isinstance(above, Task) else above
        self.root_uuid: uuid.UUID = above.root_uuid if isinstance(above, Task) else uuid.uuid4()
        if self.parent is not None:
            self.parent._children.append(self)

    def __iter__(self) -> Iterator[Task]:
        yield self
        for child in self._children:
            yield from child

    def __repr__(self) -> str:
        return (
            f"Task(estimator_name={self.estimator_name!r}, task_name={self.task_name!r}, "
            f"task_id={self.task_id})"
        )


class SklearnCallback(Callback):
    """Calls an object with the hooks of ``sklearn.callback.FitCallback``.

    ``setup``, ``on_fit_task_begin``, ``on_fit_task_end`` and ``teardown`` get the Trainer as the
    estimator and a :class:`Task`; those of ``X``, ``y``, ``metadata`` and ``fitted_estimator`` that
    a hook names are passed too. An ``on_fit_task_end`` of an epoch that returns true ends the
    training.

    Args:
        callback: The object; hooks that it lacks are left out.
    """

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self._root: Task | None = None
        self._epoch: Task | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        fitting = trainer.fitting
        epochs = None if fitting is None else fitting.epochs
        self._root = Task("fit", 0, epochs, type_name(trainer))
        self._call("setup", trainer, self._root)
        self._call("on_fit_task_begin", trainer, self._root)
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        assert self._root is not None
        number = 0 if self._epoch is None else self._epoch.task_id + 1
        if self._root.max_subtasks is None or number < self._root.max_subtasks:
            self._epoch = Task("epoch", number, 0, self._root)
            self._call("on_fit_task_begin", trainer, self._epoch)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Logs) -> bool:
        assert self._epoch is not None
        stop = self._call("on_fit_task_end", trainer, self._epoch)
        if not stop:
            self._begin_epoch(trainer)
        return stop

    def on_train_end(self, trainer: Trainer) -> None:
        root, self._root, self._epoch = self._root, None, None
        if root is None:
            return
        try:
            if trainer.fitting is not None and not trainer.fitting.failed:
                self._call("on_fit_task_end", trainer, root)
        finally:
            self._call("teardown", trainer, root)

    def _call(self, name: str, trainer: Trainer, task: Task) -> bool:
        hook = getattr(self.callback, name, None)
        if hook is None:
            return False
        named = _keywords(hook) & set(_ARGUMENTS)
        return bool(hook(trainer, task, **{key: _ARGUMENTS[key](trainer) for key in named}))


def _keywords(hook: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(hook).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def _data(trainer: Trainer, name: str) -> Any:
    """The rows that are trained on: inputs, targets or weights."""
    assert trainer.fitting is not None
    data = trainer.fitting.data
    if not isinstance(data, Dataset):  # read while it is used
        return None
    arrays = {"inputs": data.inputs, "targets": data.targets, "weight": (data.weight,)}[name]
    used = [a if data.rows is None or a is None else a[data.rows] for a in arrays]
    return None if not used else used[0] if len(used) == 1 else tuple(used)


def _metadata(trainer: Trainer) -> dict[str, Any]:
    weight = _data(trainer, "weight")
    return {} if weight is None else {"sample_weight": weight}


# Made when a hook asks for them only: rows of a split have to be copied.
_ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "X": lambda trainer: _data(trainer, "inputs"),
    "y": lambda trainer: _data(trainer, "targets"),
    "metadata": _metadata,
    "fitted_estimator": lambda trainer: trainer,
}
