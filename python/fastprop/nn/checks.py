"""Checks of constructor arguments."""

from __future__ import annotations

import math
import operator
from contextvars import ContextVar
from typing import SupportsFloat, SupportsIndex

import numpy as np

# The most that `positive_int` lets through: a file that describes a model may be anybody's, and
# widths decide how much memory is taken.
most_allowed: ContextVar[int | None] = ContextVar("most_allowed", default=None)


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
    most = most_allowed.get()
    if most is not None and number > most:
        raise ValueError(f"{where}: {name} is {number}, the file holds {most} numbers only")
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
