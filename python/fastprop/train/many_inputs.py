"""The arguments of ``fit_many``: one for all or one for each, checked, and data converted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.data.base import BaseDataset
from fastprop.graph.forms import Planned, Plans
from fastprop.registry import type_name
from fastprop.train.balance import sample_rows, weigh_classes
from fastprop.train.callbacks import CallbackList, check_callbacks
from fastprop.train.fitting import Fit
from fastprop.train.history import History
from fastprop.train.inputs import (
    check_batch_size,
    check_epochs,
    check_fraction,
    check_full_batch,
    validation_parts,
)
from fastprop.train.progress import Watcher
from fastprop.train.runs import Making
from fastprop.train.shared_arrays import Converted, Known
from fastprop.train.trainer import Trainer


class Training:
    """One of many: a Trainer, and the checked arguments of its ``fit``.

    Attributes:
        trainer: Who trains.
        epochs: How many epochs.
        history: Where they are recorded.
        kind: Equal for trainings of which one fits if the other does.
    """

    def __init__(
        self, where: str, trainer: Trainer, data: Dataset, held_out: Dataset | None, **options: Any
    ) -> None:
        self.trainer = trainer
        self.epochs: int = options["epochs"]
        self.history = History()
        self._where = where
        self._data = data
        self._held_out = held_out
        self._options = options

    @property
    def kind(self) -> tuple[object, ...]:
        trainer, added = self.trainer, self.trainer.regularization
        shapes = ((a.shape[1:], a.dtype.str) for a in self._data.sources)
        inner = getattr(trainer.optimizer, "optimizer", None)
        parts = (*trainer.model.modules(), trainer.optimizer, inner, *trainer.metrics)
        rules = (*added.penalties, *added.rules, *added.constraints)
        return (
            trainer.loss.function,
            trainer.resume_point and trainer,
            any(p.requires_grad for p in trainer.optimizer.parameters),
            len(self._data) % self._options["batch_size"] == 1,  # too few for some layers
            *(
                type(item) if type(item).__module__.startswith("fastprop.") else item
                for item in rules
            ),
            *map(type, parts),
            *shapes,
        )

    def check(self) -> None:
        """Raise what its callbacks find wrong."""
        if not self._options["callbacks"]:
            return
        CallbackList(self.trainer, self._options["callbacks"]).check(self._held_out is not None)

    def fit(self, plans: Plans[Planned], progress: Watcher | None = None) -> Fit:
        """A ``fit`` on one thread, traced and not begun."""
        return Fit(
            self.trainer,
            self._where,
            self._data,
            self._held_out,
            self.history,
            progress=progress,
            making=Making(1, plans),
            max_seconds=None,
            **self._options,
        )


class _Own(NamedTuple):
    """What one trainer is given."""

    x: Any
    y: Any
    sample_weight: Any
    rows: Any
    validation_data: Any
    validation_rows: Any
    class_weight: Any
    sampler: Any
    epochs: Any
    batch_size: Any
    callbacks: Any


class ManyInputs:
    """Turns the arguments of ``fit_many`` into one :class:`Training` for each trainer.

    Args:
        where: Who asks; starts the messages.
        trainers: As :func:`check_trainers` gives them.
        finite: Look for NaN and infinity in all data.
    """

    def __init__(self, where: str, trainers: Sequence[Trainer], finite: bool) -> None:
        self._where = where
        self._trainers = trainers
        self._finite = finite
        self._converted = Converted()

    def read(
        self,
        x: Any,
        y: Any,
        *,
        rows: Any,
        epochs: Any,
        batch_size: Any,
        sample_weight: Any,
        validation_data: Any,
        validation_rows: Any,
        validation_split: float,
        stratify: Any,
        class_weight: Any,
        sampler: Any,
        callbacks: Any,
        **options: Any,
    ) -> list[Training]:
        """All trainings, checked; see :func:`fastprop.fit_many` for the arguments.

        ``options`` are `shuffle`, `drop_last` and `mixup`.
        """
        where = self._where
        fraction = check_fraction(where, validation_split)
        if sum(v is not None for v in (validation_data, validation_rows, fraction or None)) > 1:
            raise ValueError(
                f"{where}: give one of validation_data, validation_rows and validation_split"
            )
        per_trainer = zip(
            self._each("x", x),
            self._each("y", y),
            self._each("sample_weight", sample_weight),
            self._one_each("rows", rows),
            self._each("validation_data", validation_data),
            self._one_each("validation_rows", validation_rows),
            self._each("class_weight", class_weight),
            self._each("sampler", sampler),
            self._each("epochs", epochs),
            self._each("batch_size", batch_size),
            self._callbacks(callbacks),
            strict=True,
        )
        if stratify is not None and stratify is not False and not fraction:
            raise ValueError(f"{where}: stratify needs a validation_split")
        split = fraction, stratify
        return [
            self._training(f"{where}: trainers[{i}]", trainer, _Own(*own), split, **options)
            for i, (trainer, own) in enumerate(zip(self._trainers, per_trainer, strict=True))
        ]

    def _training(
        self,
        where: str,
        trainer: Trainer,
        own: _Own,
        split: tuple[float, Any],
        *,
        drop_last: bool,
        **options: Any,
    ) -> Training:
        notes: list[str] = []
        everything = self._dataset(where, trainer, own.x, own.y, own.sample_weight, notes)
        data = self._take(f"{where}: rows", everything, own.rows) or everything
        held_out = self._take(f"{where}: validation_rows", everything, own.validation_rows)
        if own.validation_data is not None:
            x, y, weight = validation_parts(where, own.validation_data)
            held_out = self._dataset(f"{where}: validation_data", trainer, x, y, weight, notes)
        elif split[0]:
            fraction, stratify = split
            parts = trainer._reader.split(
                where, data, None, fraction, trainer.seed, self._finite, notes, stratify
            )
            data, held_out = (part for part in parts if isinstance(part, Dataset))
        data = weigh_classes(where, data, own.class_weight, trainer._programs)
        data = sample_rows(where, data, own.sampler, trainer.seed)
        batch = check_batch_size(where, own.batch_size, len(data), drop_last)
        check_full_batch(where, trainer.optimizer, batch, len(data))
        used = len(data) - len(data) % batch if drop_last else len(data)
        trainer.optimizer.check_epoch(where, used, batch)
        training = Training(
            where,
            trainer,
            data,
            held_out,
            epochs=check_epochs(where, own.epochs),
            batch_size=batch,
            callbacks=check_callbacks(where, own.callbacks),
            drop_last=drop_last,
            **options,
        )
        training.history.notes += notes
        return training

    def _take(self, name: str, data: Dataset, rows: Any) -> Dataset | None:
        return None if rows is None else data.take(_check_rows(name, rows, len(data)))

    def _dataset(
        self, where: str, trainer: Trainer, x: Any, y: Any, weight: Any, notes: list[str]
    ) -> Dataset:
        trainer._programs.look_at_model()
        if isinstance(x, BaseDataset):
            raise TypeError(f"{where}: x is a {type_name(x)}; give arrays, and choose with rows=")
        known = self._converted.find(trainer, x, y)
        if known is None:
            data = trainer._reader.dataset(where, x, y, weight, self._finite, notes)
            self._converted.add(trainer, x, y, Known(where, trainer, data))
            return data
        if weight is None and known.fits(where, trainer):
            return known.again(trainer)
        # Others have looked at these numbers; whether they fit this model is looked at here.
        inputs, targets = known.arrays
        return trainer._reader.dataset(
            where, inputs, None if y is None else targets, weight, False, notes
        )

    def _each(self, name: str, value: Any) -> list[Any]:
        """A list has an entry for each trainer, all else is for all."""
        count = len(self._trainers)
        if not isinstance(value, list):
            return [value] * count
        if len(value) != count:
            raise ValueError(
                f"{self._where}: {name} is a list of {len(value)}, one for each trainer, but there "
                f"are {count} trainers"
            )
        return value

    def _one_each(self, name: str, value: Any) -> list[Any]:
        """One entry for each trainer, whatever holds them."""
        if value is None:
            return self._each(name, None)
        if isinstance(value, np.ndarray) and value.ndim < 2:
            raise ValueError(
                f"{self._where}: {name} must have one array of row numbers for each trainer, got "
                f"one array of shape {value.shape}"
            )
        return self._each(name, list(value))

    def _callbacks(self, callbacks: Any) -> list[Any]:
        if isinstance(callbacks, list | tuple) and len(callbacks) == 0:
            return [()] * len(self._trainers)
        return self._each("callbacks", callbacks)


def check_trainers(where: str, trainers: Iterable[Trainer]) -> list[Trainer]:
    """A list of Trainers that do not change each other's models.

    Raises:
        TypeError: Something in it is no Trainer.
        ValueError: One is there twice, is training already, or shares what is trained.
    """
    if isinstance(trainers, Trainer) or not isinstance(trainers, Iterable):
        raise TypeError(f"{where}: trainers must be a list of Trainers, got {type_name(trainers)}")
    found = list(trainers)
    owners: dict[int, tuple[int, str]] = {}  # by what may be changed: the trainer, what it is
    seen: set[int] = set()
    for i, trainer in enumerate(found):
        if not isinstance(trainer, Trainer):
            raise TypeError(f"{where}: trainers[{i}] must be a Trainer, got {type_name(trainer)}")
        if id(trainer) in seen:
            raise ValueError(f"{where}: trainers[{i}] is there twice")
        seen.add(id(trainer))
        if trainer.fitting is not None:
            raise ValueError(f"{where}: trainers[{i}] is training already")
        for what, item in _changed(trainer):
            other, _ = owners.setdefault(id(item), (i, what))
            if other != i:
                raise ValueError(
                    f"{where}: trainers[{other}] and trainers[{i}] share {what}; give each its own"
                )
    for i, trainer in enumerate(found):
        for parameter in trainer.model.parameters():
            other, what = owners.get(id(parameter), (i, ""))
            if other != i:
                raise ValueError(
                    f"{where}: trainers[{other}] changes {what} of the model of trainers[{i}]"
                )
    return found


def _changed(trainer: Trainer) -> Iterable[tuple[str, object]]:
    """What a training writes, the largest first: its name in messages, and it."""
    yield "a model", trainer.model
    yield "an optimizer", trainer.optimizer
    for parameter in trainer.optimizer.parameters:
        yield f"a parameter of shape {parameter.shape}", parameter
    for buffer in trainer.model.buffers():
        yield f"a Buffer of shape {buffer.shape}", buffer


def _check_rows(name: str, rows: Any, count: int) -> NDArray[np.int64]:
    """Row numbers, int64.

    Raises:
        TypeError: They are no integers and no booleans.
        ValueError: None at all, more than one axis, or one that is not there.
    """
    array = np.asarray(rows)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {array.shape}")
    if array.dtype == np.bool_:
        if len(array) != count:
            raise ValueError(f"{name} has {len(array)} booleans for {count} rows")
        array = np.flatnonzero(array)
    if array.size == 0:
        raise ValueError(f"{name} is empty, expected at least one row")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be row numbers or booleans, got {array.dtype}")
    least, most = int(array.min()), int(array.max())
    if least < 0 or most >= count:
        wrong = least if least < 0 else most
        raise ValueError(f"{name}: row {wrong} is not among the {count} rows")
    return np.ascontiguousarray(array, dtype=np.int64)
