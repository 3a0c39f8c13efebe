"""Checks of constructor arguments."""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np


def positive_int(where: str, name: str, value: SupportsIndex) -> int:
    """`value` as an int.

    Raises:
        TypeError: It is no integer.
        ValueError: It is less than 1.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be an integer, got {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{where}: {name} must be at least 1, got {number}")
    return number
