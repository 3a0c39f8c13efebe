"""Dividing rows into parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.random import SPLIT


def split_rows(
    count: int, fraction: float, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the rows 0 … count-1 at random; the second part has ``round(count * fraction)``.

    Both parts are sorted, so that what is read from a file is read forwards.

    Raises:
        ValueError: The fraction is outside [0, 1), or would leave no row for the first part.
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"split_rows: fraction must be at least 0 and below 1, got {fraction}")
    second = round(count * fraction)
    if second >= count:
        raise ValueError(
            f"split_rows: a fraction of {fraction} of {count} rows leaves none for the rest"
        )
    order = _core.permutation(seed, SPLIT, 0, count)
    return np.sort(order[second:]), np.sort(order[:second])


def train_test_split(*arrays: Any, test_size: float = 0.25, seed: int = 0) -> list[NDArray[Any]]:
    """Divide arrays of one length into random parts for training and testing.

    Args:
        arrays: NumPy arrays of the same length.
        test_size: Fraction of the rows that goes into the second parts.
        seed: The same seed gives the same parts.

    Returns:
        ``[a_train, a_test, b_train, b_test, …]``, copies.

    Raises:
        ValueError: No arrays, different lengths, or a part would be empty.
    """
    if not arrays:
        raise ValueError("train_test_split: give at least one array")
    values = [np.asarray(a) for a in arrays]
    lengths = [len(a) for a in values]
    if len(set(lengths)) > 1:
        raise ValueError(f"train_test_split: arrays have different lengths, {lengths}")
    train, test = split_rows(lengths[0], test_size, seed)
    if not len(test):
        raise ValueError(
            f"train_test_split: test_size {test_size} of {lengths[0]} rows is no row at all"
        )
    return [part for a in values for part in (a[train], a[test])]
