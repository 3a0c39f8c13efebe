"""Rows on their way: inputs, targets and weights of one length."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Batch(NamedTuple):
    """Some rows of a dataset.

    Attributes:
        x: Inputs ``[rows, …]``; a tuple of arrays for a model with several.
        y: Targets, alike; ``None`` where there are none.
        sample_weight: One number a row, or ``None``.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def named(self) -> list[tuple[str, Any]]:
        """All arrays with what they are called in messages."""
        weight = [] if self.sample_weight is None else [("sample_weight", self.sample_weight)]
        return [*_named("x", self.x), *_named("y", self.y), *weight]

    @property
    def arrays(self) -> list[Any]:
        """All arrays, in the order of :attr:`named`."""
        return [array for _, array in self.named]

    def with_arrays(self, arrays: list[Any]) -> Batch:
        """The same structure around other arrays."""
        left = iter(arrays)
        return Batch(*(_rebuilt(part, left) for part in self))

    def slice(self, begin: int, end: int) -> Batch:
        """Rows `begin` to `end`, as views."""
        return self.with_arrays([array[begin:end] for array in self.arrays])

    def copy(self) -> Batch:
        return self.with_arrays([np.array(array) for array in self.arrays])

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """Copies of some rows, in the order of `rows`."""
        return self.with_arrays([np.take(array, rows, axis=0) for array in self.arrays])


def as_batch(where: str, item: Any) -> Batch:
    """What an iterable gave as a Batch of arrays.

    Args:
        where: What the item is called in messages, such as ``"from_iterable: item 3"``.
        item: Inputs alone, or a tuple ``(x, y)`` or ``(x, y, sample_weight)``.

    Raises:
        ValueError: A tuple of another length; arrays of different lengths, or a single number.
        TypeError: Something that is no array of numbers.
    """
    from fastprop.data.arrays import to_array

    if isinstance(item, tuple):
        if not 1 <= len(item) <= 3:
            raise ValueError(
                f"{where} is a tuple of {len(item)}, expected (x, y) or (x, y, sample_weight), "
                "with a tuple of arrays as x for several inputs"
            )
        batch = Batch(*item)
    else:
        batch = Batch(item)
    arrays = [to_array(f"{where}: {n}", a, keep_dtype=True) for n, a in batch.named]
    batch = batch.with_arrays(arrays)
    same_rows(where, batch)
    return batch


def same_rows(where: str, batch: Batch) -> int:
    """The number of rows that all arrays have.

    Raises:
        ValueError: There is no input, an array is a single number, or lengths differ.
    """
    named = batch.named
    if not named or named[0][0][0] != "x":
        raise ValueError(f"{where} has no inputs")
    for name, array in named:
        if array.ndim == 0:
            raise ValueError(
                f"{where}: {name} is a single number, expected an array with one row a sample"
            )
        if len(array) != len(named[0][1]):
            raise ValueError(
                f"{where}: {named[0][0]} has {len(named[0][1])} rows, {name} has {len(array)}"
            )
    return len(named[0][1])


def _named(name: str, part: Any) -> list[tuple[str, Any]]:
    if part is None:
        return []
    if isinstance(part, tuple):
        return [(name if len(part) == 1 else f"{name}[{i}]", a) for i, a in enumerate(part)]
    return [(name, part)]


def _rebuilt(part: Any, arrays: Any) -> Any:
    if part is None:
        return None
    if isinstance(part, tuple):
        return tuple(next(arrays) for _ in part)
    return next(arrays)
