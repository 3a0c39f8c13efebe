"""Weights of classes for rows that are read while a model learns from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset, StreamDataset
from fastprop.data.batch import Batch
from fastprop.data.classes import classes_of
from fastprop.data.reading import Reading
from fastprop.data.windows import Convert
from fastprop.train.balance import check_class_weight, listed, weights_of_classes
from fastprop.train.streams import StreamData, StreamFeed

if TYPE_CHECKING:
    from fastprop.train.programs import Programs

Array = NDArray[Any]

_COUNTED_AT_ONCE = 4096  # rows of a step of the reading that counts


def weigh_stream(
    where: str, data: StreamData, class_weight: Any, programs: Programs, seed: int
) -> StreamData:
    """The same rows, each with its weight multiplied by that of its class.

    With ``"balanced"`` all rows are read once beforehand, and counted.

    Args:
        where: Who asks; starts the messages.
        data: What is trained on.
        class_weight: ``None``, ``"balanced"``, a mapping or an array.
        programs: Gives the result its signature.
        seed: Of what is random in transforms.

    Raises:
        ValueError: Targets that are no classes; weights that are negative, not finite or all zero;
            rows that can be read only once, for ``"balanced"``.
        TypeError: Neither of these.
    """
    if class_weight is None:
        return data
    where = f"{where}: class_weight"
    labels = classes_of(where, data.targets)
    counts = _counted(where, data, seed) if isinstance(class_weight, str) else None
    table = _Table(where, class_weight, counts)
    dtype = programs.outputs(where, data.inputs)[0].dtype
    weighed = _Weighed(where, data.conversion, table, dtype)
    weight = weighed.weights(labels, data.weight)
    signature = programs.signature(data.inputs, data.targets, [weight])
    form = Dataset(data.inputs, data.targets, weight, signature=signature)
    return StreamData(data.where, data.dataset, form, weighed)


def _counted(where: str, data: StreamData, seed: int) -> tuple[Array, Array]:
    """The classes of the first epoch, and the number of rows of each."""
    dataset = data.dataset
    if isinstance(dataset, StreamDataset) and not dataset.repeatable:
        raise ValueError(
            f"{where}: 'balanced' counts the rows of every class first, and an iterator gives them "
            "once; give a dict with the weights"
        )
    feed = StreamFeed(data, Reading(_COUNTED_AT_ONCE, seed=seed), 1)
    found: dict[int, int] = {}
    step = 0
    try:
        while (chunk := feed.at(1, step)) is not None:
            target = chunk.sources[len(data.inputs)][chunk.order]
            labels = classes_of(where, (target,))
            for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
                found[int(label)] = found.get(int(label), 0) + int(count)
            step += chunk.steps
    finally:
        feed.close()
    present = np.array(sorted(found), np.int64)
    return present, np.array([found[label] for label in present.tolist()])


def _announced(where: str, given: Any) -> tuple[Array, Array]:
    """The classes that there are weights for."""
    classes = list(given) if isinstance(given, Mapping) else list(range(len(given)))
    for label in classes:
        if isinstance(label, bool) or not isinstance(label, int | np.integer):
            raise ValueError(f"{where} names class {label!r}; classes are whole numbers here")
    if not classes:
        raise ValueError(f"{where} is empty, expected the weights of classes")
    return np.array(sorted(classes), np.int64), np.ones(len(classes))


class _Table:
    """The weight of every class.

    Args:
        where: Starts the messages.
        given: As the user said.
        counts: The classes that there are and the rows of each, for ``"balanced"``.
    """

    def __init__(self, where: str, given: Any, counts: tuple[Array, Array] | None) -> None:
        self._where = where
        check_class_weight(where, given)
        self._counted = counts is not None
        if counts is None:  # nobody has looked at all rows
            counts = _announced(where, given)
        self._other = 1.0 if isinstance(given, Mapping) else None
        self._classes = counts[0]
        self._weights = weights_of_classes(where, given, *counts)
        if not self._weights.any() and self._other is None:
            raise ValueError(f"{where}: the weights of all classes are zero")

    def __call__(self, labels: Array) -> NDArray[np.float64]:
        """The weight of each row.

        Raises:
            ValueError: A class that has none.
        """
        place = np.searchsorted(self._classes, labels)
        place = np.minimum(place, len(self._classes) - 1)
        known = self._classes[place] == labels
        if self._other is None and not known.all():
            row = int(np.argmin(known))
            why = "a dict may leave out classes, which then weigh 1"
            if self._counted:
                why = f"the classes of the first epoch were {listed(self._classes)}. Give a dict"
            raise ValueError(
                f"{self._where} has no weight for class {labels[row]}, of row {row}; {why}"
            )
        return np.where(known, self._weights[place], self._other or 0.0)


class _Weighed:
    """Converts rows, and multiplies their weights by those of their classes.

    Args:
        where: Starts the messages.
        convert: What converts them.
        table: The weights of classes.
        dtype: Of weights.
    """

    def __init__(self, where: str, convert: Convert, table: _Table, dtype: np.dtype[Any]) -> None:
        self._where = where
        self._convert = convert
        self._table = table
        self._dtype = dtype

    def __call__(self, batch: Batch, place: str) -> Batch:
        made = self._convert(batch, place)
        try:
            labels = classes_of(self._where, made.y)
            return Batch(made.x, made.y, self.weights(labels, made.sample_weight))
        except ValueError as error:
            raise ValueError(f"{error} (counted in {place})") from error

    def weights(self, labels: Array, weight: Array | None) -> Array:
        """The weights of rows of these classes."""
        with np.errstate(over="ignore"):
            made: Array = self._table(labels).astype(self._dtype)
            if weight is not None:
                made *= weight
        if not np.isfinite(made).all():
            raise ValueError(f"{self._where}: a weight is too large for {self._dtype}")
        return made
