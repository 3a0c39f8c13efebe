"""Dividing rows into parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop import _core
from fastprop.checks import as_array, real_number
from fastprop.random import SPLIT, check_seed

Rows = NDArray[np.int64]


def split_rows(
    count: int, fraction: float, seed: int = 0, labels: ArrayLike | None = None
) -> tuple[Rows, Rows]:
    """Divide the rows 0 … count-1 at random; the second part has ``round(count * fraction)``.

    Both parts are sorted, so that what is read from a file is read forwards.

    Args:
        count: How many rows there are.
        fraction: Share of the second part.
        seed: The same seed gives the same parts.
        labels: The class of each row: every class is divided alike, up to whole rows (a stratified
            split), and none is missing in the first part.

    Raises:
        TypeError: A seed that is no integer, or labels of which some are numbers and some words.
        ValueError: The fraction is outside [0, 1), or would leave no row for the first part; not
            one label for each row, or a class of one row only.
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"split_rows: fraction must be at least 0 and below 1, got {fraction}")
    second = round(count * fraction)
    if second >= count:
        raise ValueError(
            f"split_rows: a fraction of {fraction} of {count} rows leaves none for the rest"
        )
    order = _core.permutation(check_seed("split_rows", seed), SPLIT, 0, count)
    if labels is not None:
        return _stratified(order, second, fraction, np.asarray(labels))
    return np.sort(order[second:]), np.sort(order[:second])


def _stratified(
    order: Rows, second: int, fraction: float, labels: NDArray[Any]
) -> tuple[Rows, Rows]:
    """Of every class its share, by the largest remainders (Hamilton's method)."""
    if labels.shape != order.shape:
        raise ValueError(
            f"split_rows: expects one label for each of the {len(order)} rows, got shape "
            f"{labels.shape}"
        )
    from fastprop.data.classes import count_classes

    names, numbers, sizes = count_classes("split_rows", labels)
    if sizes.min(initial=2) < 2:
        lonely = names[np.argmin(sizes)]
        raise ValueError(
            f"split_rows: class {lonely} has one row, which cannot be in both parts of a "
            "stratified split"
        )
    shares = sizes * fraction
    counts = np.floor(shares).astype(np.int64)
    for number in np.argsort(counts - shares, kind="stable"):  # largest remainder first
        if counts.sum() >= second:
            break
        counts[number] += counts[number] < sizes[number] - 1
    # Rows by class, at random within it; the first ones of each class are held out.
    by_class = order[np.argsort(numbers[order], kind="stable")]
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held_out = place < np.repeat(counts, sizes)
    return np.sort(by_class[~held_out]), np.sort(by_class[held_out])


def train_test_split(
    *arrays: Any, test_size: float = 0.25, seed: int = 0, stratify: ArrayLike | None = None
) -> list[NDArray[Any]]:
    """Divide arrays of one length into random parts for training and testing.

    Args:
        arrays: NumPy arrays of the same length.
        test_size: Fraction of the rows that goes into the second parts.
        seed: The same seed gives the same parts.
        stratify: The class of each row; every class is divided alike.

    Returns:
        ``[a_train, a_test, b_train, b_test, …]``, copies.

    Raises:
        TypeError: As for :func:`split_rows`.
        ValueError: No arrays, different lengths, or a part would be empty; not one label for each
            row, or a class of one row only.
    """
    if not arrays:
        raise ValueError("train_test_split: give at least one array")
    values = [as_array(f"train_test_split: arrays[{i}]", a) for i, a in enumerate(arrays)]
    if any(a.ndim == 0 for a in values):
        raise ValueError("train_test_split: expects arrays of rows, got a single number or object")
    lengths = [len(a) for a in values]
    if len(set(lengths)) > 1:
        raise ValueError(f"train_test_split: arrays have different lengths, {lengths}")
    test_size = real_number("train_test_split", "test_size", test_size, 0.0, 1.0)
    train, test = split_rows(lengths[0], test_size, seed, stratify)
    if not len(test):
        raise ValueError(
            f"train_test_split: test_size {test_size} of {lengths[0]} rows is no row at all"
        )
    return [part for a in values for part in (a[train], a[test])]
