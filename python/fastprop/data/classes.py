"""The class of each row: what stratified parts and weights of classes go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.checks import as_array
from fastprop.registry import type_name

Array = NDArray[Any]


def classes_of(where: str, targets: Sequence[Array]) -> Array:
    """The class of each row of the targets: a label, the column of a one-hot row, or 0 and 1.

    Args:
        where: Who asks, and for what; starts the messages.
        targets: Arrays ``[rows, …]``; one, or there is no saying which has the classes.

    Raises:
        ValueError: No targets, several, or such that are no classes.
    """
    if len(targets) != 1:
        raise ValueError(f"{where}: needs one array of targets, got {len(targets)}")
    (y,) = targets
    if y.ndim == 2 and y.shape[1] > 1:
        label: Array = y.argmax(axis=1)
        one_hot = (y == (np.arange(y.shape[1]) == label[:, None])).all(axis=1)
        if not one_hot.all():
            row = int(np.argmin(one_hot))
            raise ValueError(
                f"{where}: targets of shape {y.shape} must have a single 1 in each row, as "
                f"classes have; y[{row}] has not"
            )
        return label
    values = y.reshape(len(y), -1)
    if values.shape[1] != 1 or (values != np.floor(values)).any():
        raise ValueError(
            f"{where}: targets must be classes, got {y.dtype} of shape {y.shape} that are not "
            "whole numbers"
        )
    return values[:, 0].astype(np.int64)


def strata(where: str, stratify: Any, targets: Sequence[Array], count: int) -> Array:
    """The class of each row for parts that are stratified.

    Args:
        where: Who asks; starts the messages.
        stratify: True for those of the targets, or the class of each row: numbers or words.
        targets: See :func:`classes_of`.
        count: How many rows there are.

    Raises:
        ValueError: Not one class for each row.
    """
    if stratify is True:
        return classes_of(f"{where}: stratify", targets)
    labels = as_array(f"{where}: stratify", stratify)
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise ValueError(
            f"{where}: stratify must be True, or one class for each of the {count} rows; got "
            f"an array of shape {labels.shape}"
        )
    return labels


def count_classes(where: str, labels: Array) -> tuple[Array, Array, Array]:
    """The classes in order, the place of each row's among them, and how many rows each has.

    Raises:
        TypeError: Classes that cannot be put in order, such as numbers among words.
    """
    try:
        return np.unique(labels, return_inverse=True, return_counts=True)
    except TypeError:
        kinds = sorted({type_name(label) for label in labels.tolist()})
        raise TypeError(
            f"{where}: the classes of rows must be all numbers or all words, got {kinds}"
        ) from None
