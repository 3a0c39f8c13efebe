"""Functions on batches, applied on their way to the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastprop.data.batch import Batch, as_batch, same_rows
from fastprop.registry import type_name


class Transform:
    """A function of ``(x, y)``, perhaps of ``rng`` too, that gives ``(x, y)``.

    Raises:
        TypeError: It cannot be called so.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"map: expects a function of (x, y), got {type_name(function)}")
        self.function = function
        self.name = getattr(function, "__name__", type_name(function))
        self.random = _takes_rng(self.name, function)

    def __call__(self, batch: Batch, key: tuple[int, int, int]) -> Batch:
        """The batch transformed; `key` is (seed, epoch, step), from which the random numbers come.

        Raises:
            ValueError: It gave something else than a pair, or another number of rows.
            TypeError: It gave something that is no array of numbers.
        """
        rng = {"rng": np.random.default_rng(key)} if self.random else {}
        found = self.function(batch.x, batch.y, **rng)
        if not isinstance(found, tuple) or len(found) != 2:
            got = f"a tuple of {len(found)}" if isinstance(found, tuple) else type_name(found)
            raise ValueError(f"map: {self.name} must return (x, y), got {got}")
        made = as_batch(f"map: {self.name}", (*found, batch.sample_weight))
        before, after = len(batch.arrays[0]), same_rows(self.name, made)
        if before != after:
            raise ValueError(
                f"map: {self.name} got {before} rows and returned {after}; a transform keeps the "
                "number of rows"
            )
        return made


def _takes_rng(name: str, function: Callable[..., Any]) -> bool:
    """True if it has an argument called ``rng``."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return False
    rng = {"rng": None} if "rng" in signature.parameters else {}
    try:
        signature.bind(None, None, **rng)
    except TypeError:
        raise TypeError(f"map: {name}{signature} does not take (x, y) or (x, y, rng)") from None
    return bool(rng)
