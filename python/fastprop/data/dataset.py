"""Checked arrays of one length, and which of their rows are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data.sampler import RowOrder, SampledOrder


class Dataset:
    """What a Program reads: inputs, then targets, then sample weights if there are any.

    Attributes:
        inputs: One array for each argument of the model's ``forward``.
        targets: One array for each target of the loss.
        weight: One non-negative number a row, or ``None``.
        rows: The rows that belong to it, or ``None`` for all.
        sampled: Which of them an epoch takes, or ``None`` for each once.
        signature: A number for the dtypes and row shapes of all arrays, given by who reads them.
    """

    __slots__ = ("inputs", "rows", "sampled", "signature", "targets", "weight")

    def __init__(
        self,
        inputs: tuple[NDArray[Any], ...],
        targets: tuple[NDArray[Any], ...] = (),
        weight: NDArray[Any] | None = None,
        rows: NDArray[np.int64] | None = None,
        signature: int = -1,
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.weight = weight
        self.rows = rows
        self.sampled: SampledOrder | None = None
        self.signature = signature

    def __len__(self) -> int:
        if self.sampled is not None:
            return self.sampled.count
        return len(self.inputs[0]) if self.rows is None else len(self.rows)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self)

    @property
    def sources(self) -> list[NDArray[Any]]:
        """The arrays in the order of the Program's placeholders."""
        return [*self.inputs, *self.targets, *([] if self.weight is None else [self.weight])]

    def take(self, rows: NDArray[np.int64]) -> Dataset:
        """The same arrays, restricted to some of its rows; nothing is copied."""
        if self.rows is not None:
            rows = self.rows[rows]
        return Dataset(self.inputs, self.targets, self.weight, rows, self.signature)

    def order(self, *, shuffle: bool, seed: int) -> RowOrder | SampledOrder:
        if self.sampled is not None:
            return self.sampled
        return RowOrder(len(self), self.rows, shuffle=shuffle, seed=seed)


def same_length(where: str, named: Sequence[tuple[str, NDArray[Any]]]) -> int:
    """The one length of all arrays.

    Raises:
        ValueError: An array is a scalar, they have different lengths, or they are empty.
    """
    for name, array in named:
        if array.ndim == 0:
            raise ValueError(
                f"{where}: {name} is a single number, expected an array with one row a sample"
            )
    first, reference = named[0]
    for name, array in named[1:]:
        if len(array) != len(reference):
            raise ValueError(f"{where}: {first} has {len(reference)} rows, {name} has {len(array)}")
    if len(reference) == 0:
        raise ValueError(
            f"{where}: {first} is empty (shape {reference.shape}), expected at least one row"
        )
    return len(reference)
