"""Classes of unequal size: weights of classes, and which rows an epoch takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import as_array
from fastprop.data import Dataset
from fastprop.data.sampler import SampledOrder, Sampler

if TYPE_CHECKING:
    from fastprop.train.programs import Programs

Array = NDArray[Any]


def strata_of(where: str, data: Dataset, stratify: Any) -> Array:
    """The class of each row of `data` for a stratified split; see :func:`strata`.

    Raises:
        ValueError: Not one class for each row of its arrays.
    """
    from fastprop.data.classes import strata

    labels = strata(where, stratify, data.targets, len(data.inputs[0]))
    return labels if data.rows is None else labels[data.rows]


def weigh_classes(where: str, data: Dataset, class_weight: Any, programs: Programs) -> Dataset:
    """The same rows, each with its weight multiplied by that of its class.

    Args:
        where: Who asks; starts the messages.
        data: What is trained on.
        class_weight: ``None``, ``"balanced"``, a mapping or an array.
        programs: Gives the result its signature.

    Raises:
        ValueError: Targets that are no classes; weights that are negative, not finite, all zero or
            of other classes.
        TypeError: Neither of these.
    """
    if class_weight is None:
        return data
    from fastprop.data.classes import classes_of

    where = f"{where}: class_weight"
    labels = classes_of(where, data.targets)
    rows = labels if data.rows is None else labels[data.rows]
    present, counts = np.unique(rows, return_counts=True)
    check_class_weight(where, class_weight)
    by_class = weights_of_classes(where, class_weight, present, counts)
    if not by_class.any():
        raise ValueError(f"{where}: the weights of all classes are zero")
    dtype = programs.outputs(where, data.inputs)[0].dtype
    weight = np.zeros(len(labels), dtype)
    # Rows that are held out may be of other classes; nobody reads their weight.
    place = np.minimum(np.searchsorted(present, labels), len(present) - 1)
    known = present[place] == labels
    with np.errstate(over="ignore"):
        weight[known] = by_class[place[known]]
        if data.weight is not None:
            weight *= data.weight
    if not np.isfinite(weight).all():
        raise ValueError(f"{where}: a weight is too large for {dtype}")
    signature = programs.signature(data.inputs, data.targets, [weight])
    return Dataset(data.inputs, data.targets, weight, data.rows, signature)


def check_class_weight(where: str, given: Any) -> None:
    """Something that may be weights of classes.

    Raises:
        ValueError: Another word than ``"balanced"``.
        TypeError: Neither that, nor a mapping, nor an array.
    """
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"{where} must be 'balanced', a dict or an array, got {given!r}")
    elif not isinstance(given, Mapping):
        array = as_array(where, given)
        if array.dtype.kind not in "fiub" or array.ndim != 1:
            raise TypeError(f"{where} must be 'balanced', a dict or an array, got {given!r}")


def weights_of_classes(
    where: str, given: Any, present: Array, counts: Array
) -> NDArray[np.float64]:
    """The weight of each class that is there.

    Args:
        where: Starts the messages.
        given: What :func:`check_class_weight` has passed.
        present: The classes, sorted.
        counts: The rows of each.

    Raises:
        ValueError: A weight that is negative or not finite; weights of other classes.
        TypeError: A weight that is no number.
    """
    if isinstance(given, str):
        return np.asarray(counts.sum() / (len(counts) * counts), dtype=np.float64)
    if isinstance(given, Mapping):
        unknown = [c for c in given if c not in present]
        if unknown:
            raise ValueError(
                f"{where} names class {unknown[0]!r}, y holds {listed(present)}; classes that it "
                "leaves out weigh 1"
            )
        values = [_number(where, label, given.get(label, 1.0)) for label in present.tolist()]
        return np.array(values)
    array = np.asarray(given)
    if present[0] < 0 or present[-1] >= len(array):
        raise ValueError(
            f"{where} has weights for {len(array)} classes, y holds {listed(present)}; give a "
            "dict for classes that are not numbered from 0"
        )
    return np.array([_number(where, label, array[label]) for label in present.tolist()])


def _number(where: str, label: Any, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
        raise TypeError(f"{where} of class {label} must be a number, got {weight!r}")
    if not (np.isfinite(weight) and weight >= 0):
        raise ValueError(f"{where} of class {label} must be finite and not negative, got {weight}")
    return float(weight)


def listed(labels: Array) -> str:
    """Classes for a message."""
    shown = ", ".join(str(v) for v in labels[:10])
    return shown + (", …" if len(labels) > 10 else "")


def sample_rows(where: str, data: Dataset, sampler: Sampler | None, seed: int) -> Dataset:
    """The same arrays, of which every epoch takes the rows that the sampler gives."""
    if sampler is None:
        return data
    limit = len(data.inputs[0])
    rows = np.arange(limit, dtype=np.int64) if data.rows is None else data.rows
    sampled = Dataset(data.inputs, data.targets, data.weight, data.rows, data.signature)
    sampled.sampled = SampledOrder(where, sampler, rows, limit, seed)
    return sampled
