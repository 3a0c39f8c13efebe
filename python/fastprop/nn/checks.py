"""Checks of constructor arguments."""

from __future__ import annotations

import math
import operator
from typing import SupportsFloat, SupportsIndex

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


def real_number(
    where: str, name: str, value: float, low: float, below: float = math.inf, *, above: bool = False
) -> float:
    """`value` as a float in [`low`, `below`), or in (`low`, `below`) if `above`.

    Raises:
        TypeError: It is no real number.
        ValueError: It is out of range, infinite, or not a number.
    """
    if isinstance(value, bool | np.bool_ | str) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    number = float(value)
    if not (low < number if above else low <= number) or not number < below:
        limits = f"{'(' if above else '['}{low:g}, {below:g})"
        raise ValueError(f"{where}: {name} must be in {limits}, got {value}")
    return number
