"""Weights of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastprop.checks import as_array
from fastprop.losses.reduce import refuse_first
from fastprop.random import check_float_dtype


def check_sample_weight(
    where: str, weight: ArrayLike, rows: int, dtype: DTypeLike = "float32"
) -> NDArray[Any]:
    """Sample weights that the user gave, checked once and converted for training.

    Args:
        where: What the message starts with.
        weight: One weight for each row.
        rows: Number of rows.
        dtype: dtype of the predictions.

    Returns:
        Array ``[rows]`` of `dtype`.

    Raises:
        ValueError: Another shape, a weight that is negative or not finite, or all of them zero.
        TypeError: No real numbers.
    """
    array = as_array(f"{where}: sample_weight", weight)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{where}: sample_weight must be real numbers, got dtype {array.dtype}")
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{where}: sample_weight has shape {array.shape}, expected ({rows},)")
    bad = ~(np.isfinite(array) & (array >= 0))
    refuse_first(where, "sample_weight", array, bad, "a finite number, not negative")
    if rows and not array.any():
        raise ValueError(f"{where}: sample_weight is zero for all {rows} rows")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array.reshape(rows), check_float_dtype(where, dtype))
    too_large = ~np.isfinite(converted.reshape(array.shape))
    refuse_first(where, "sample_weight", array, too_large, f"a number that {converted.dtype} holds")
    return converted
