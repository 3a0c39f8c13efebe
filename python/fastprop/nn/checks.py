"""Checks of constructor arguments."""

from __future__ import annotations

import operator
from contextvars import ContextVar
from typing import SupportsIndex

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
