"""Checks of arguments that are numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

# The most that `positive_int` lets through: a file that describes a model may be anybody's, and
# widths decide how much memory is taken.
most_allowed: ContextVar[int | None] = ContextVar("most_allowed", default=None)


def integer(where: str, name: str, value: Any, least: int = 0) -> int:
    """`value` as an int.

    Raises:
        TypeError: It is no integer.
        ValueError: It is below `least`.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{where}: {name} must be an integer, got {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}: {name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{where}: {name} must be at least {least}, got {number}")
    return number


def positive_int(where: str, name: str, value: Any) -> int:
    """A width or the like as an int of at least 1, at most what a file may ask for.

    Raises:
        TypeError: It is no integer.
        ValueError: It is less than 1.
    """
    number = integer(where, name, value, least=1)
    most = most_allowed.get()
    if most is not None and number > most:
        raise ValueError(f"{where}: {name} is {number}, the file holds {most} numbers only")
    return number


def real_number(
    where: str,
    name: str,
    value: Any,
    low: float = 0.0,
    below: float = math.inf,
    *,
    above: bool = False,
    up_to: bool = False,
) -> float:
    """`value` as a float in [`low`, `below`), without `low` if `above`, with `below` if `up_to`.

    Raises:
        TypeError: It is no real number.
        ValueError: It is out of range, infinite, or not a number.
    """
    number = value if type(value) is float else _as_float(where, name, value)
    large_enough = low < number if above else low <= number
    small_enough = number <= below if up_to else number < below
    if not (large_enough and small_enough and math.isfinite(number)):
        raise ValueError(f"{where}: {name} must be {_range(low, below, above, up_to)}, got {value}")
    return number


def _as_float(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_ | str | bytes) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{where}: {name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if abs(value) == value else -math.inf  # type: ignore[arg-type]
    except (TypeError, ValueError):  # an array of several
        raise TypeError(f"{where}: {name} must be a number, got {value!r}") from None


def as_array(name: str, value: Any) -> NDArray[Any]:
    """`value` as an array; NumPy would take what is below a mask for numbers like all others.

    Raises:
        TypeError: An array with masked elements.
    """
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
        masked = np.count_nonzero(getattr(value, "mask", False))
        if masked:
            raise TypeError(
                f"{name} has masked elements ({masked} of {value.size}), expected numbers in all "
                "places; fill them with array.filled(value)"
            )
    return np.asarray(value)


def check_takes(
    where: str, name: str, function: Callable[..., Any], arguments: Sequence[str]
) -> None:
    """Whether a function of the user's takes so many arguments in their order.

    Raises:
        TypeError: It takes others.
    """
    import inspect  # a few ms, for those who give a function

    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{where}: {name} must take ({', '.join(arguments)}), but takes {signature}"
        ) from None


def _range(low: float, below: float, above: bool, up_to: bool) -> str:
    if below < math.inf:
        return f"in {'(' if above else '['}{low:g}, {below:g}{']' if up_to else ')'}"
    if low == -math.inf:
        return "a finite number"
    if low == 0.0:
        return f"a finite number{' above 0' if above else ', not negative'}"
    return f"a finite number, {'above' if above else 'at least'} {low:g}"
