"""In which order rows are taken."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop import _core
from fastprop.checks import as_array, check_takes
from fastprop.random import SAMPLE, SHUFFLE, fill

Rows = NDArray[np.int64]
Sampler = Callable[[int, Rows, int], Rows]
"""``sampler(epoch, rows, seed)``: the rows of that epoch, in order, taken from `rows`.

It must depend on nothing else: an epoch is drawn again where training goes back or is resumed."""


class RowOrder:
    """The rows of every epoch, a function of (seed, epoch) alone.

    So a resumed or replayed epoch takes its rows in the same order, whatever happened before it.

    Args:
        count: How many rows there are.
        rows: Which rows of the arrays these are; ``None`` for all of them.
        shuffle: Take them in a new random order in every epoch.
        seed: Seed of the order.
    """

    def __init__(self, count: int, rows: Rows | None = None, *, shuffle: bool, seed: int) -> None:
        self.count = count
        self.shuffle = shuffle
        self.seed = seed
        self._rows = rows
        self._in_order = rows if rows is not None else np.arange(count, dtype=np.int64)

    def __call__(self, epoch: int) -> Rows:
        """Row numbers of this epoch, int64 ``[count]``."""
        if not self.shuffle:
            return self._in_order
        order: Rows = _core.permutation(self.seed, SHUFFLE, epoch, self.count)
        return order if self._rows is None else self._rows[order]

    def several(self, epoch: int, count: int) -> Rows:
        """Those of `count` epochs from `epoch` on, one behind the other."""
        if not self.shuffle:
            return np.tile(self._in_order, count)
        order: Rows = _core.permutation(self.seed, SHUFFLE, epoch, self.count, count)
        return order if self._rows is None else self._rows[order]


class WeightedSampler:
    r"""Rows drawn with replacement, each as often as its weight says.

    Row *i* comes next with probability :math:`w_i / \sum_j w_j`, whatever came before. A draw is a
    function of (seed, epoch) alone, as every order of rows is.

    Args:
        weights: One for each row of the data, 0 or more.
        samples: Rows of an epoch; ``None`` for as many as there are.

    Use it as ``trainer.fit(x, y, sampler=data.WeightedSampler(weights))``. If a part of the rows is
    held out for validation, only the others are drawn.

    Raises:
        ValueError: Weights that are negative, not finite, or all zero; or `samples` below 1.
        TypeError: Weights that are no real numbers, or `samples` that is no integer.
    """

    def __init__(self, weights: ArrayLike, samples: SupportsIndex | None = None) -> None:
        array = as_array("WeightedSampler: weights", weights)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"WeightedSampler: weights must be numbers, got dtype {array.dtype}")
        if array.ndim != 1:
            raise ValueError(
                f"WeightedSampler: expects one weight for each row, got shape {array.shape}"
            )
        bad = ~(np.isfinite(array) & (array >= 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"WeightedSampler: weights[{row}] is {array[row]}, expected a finite number, not "
                "negative"
            )
        if not len(array):
            raise ValueError("WeightedSampler: expects one weight for each row, got none")
        if not array.any():
            raise ValueError(f"WeightedSampler: all {len(array)} weights are zero")
        self.weights = array.astype(np.float64)
        self.samples = None if samples is None else operator.index(samples)
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"WeightedSampler: samples must be at least 1, got {samples}")
        self._latest: tuple[Rows, NDArray[np.float64]] | None = None

    @classmethod
    def balanced(cls, labels: ArrayLike, samples: SupportsIndex | None = None) -> WeightedSampler:
        """Every class as often as every other one.

        Args:
            labels: The class of each row, in whatever form NumPy can compare.
            samples: Rows of an epoch; ``None`` for as many as there are.

        Raises:
            ValueError: Not one label for each row.
        """
        array = as_array("WeightedSampler.balanced: labels", labels)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1 or not len(array):
            raise ValueError(
                f"WeightedSampler.balanced: expects one label for each row, got shape {array.shape}"
            )
        _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
        return cls((1.0 / counts)[inverse], samples)

    def __call__(self, epoch: int, rows: Rows, seed: int) -> Rows:
        """Row numbers of this epoch.

        Raises:
            ValueError: There are rows without a weight, or all weights of these rows are zero.
        """
        latest = self._latest
        if latest is None or latest[0] is not rows:
            latest = self._latest = rows, self._sums(rows)
        cumulative = latest[1]
        total = cumulative[-1]
        points = np.empty(len(rows) if self.samples is None else self.samples)
        fill(points, "random_uniform", seed, SAMPLE, epoch, lo=0.0, hi=1.0)
        points *= total
        # A point may be rounded up to the total: then it belongs to the last row that has a weight.
        last = np.searchsorted(cumulative, total, side="left")
        found = np.searchsorted(cumulative, points, side="right")
        drawn: Rows = rows[np.minimum(found, last)]
        return drawn

    def _sums(self, rows: Rows) -> NDArray[np.float64]:
        if rows.size and rows.max() >= len(self.weights):
            raise ValueError(
                f"WeightedSampler: {len(self.weights)} weights, but row {rows.max()} is among the "
                "rows to draw from; give one weight for each row of x"
            )
        with np.errstate(over="ignore"):
            cumulative = np.cumsum(self.weights[rows])
        if not np.isfinite(cumulative[-1]):
            raise ValueError("WeightedSampler: the sum of the weights is too large for float64")
        if not cumulative[-1] > 0:
            raise ValueError(
                f"WeightedSampler: the weights of all {len(rows)} rows to draw from are zero"
            )
        return cumulative

    def __repr__(self) -> str:
        return f"WeightedSampler({len(self.weights)} weights, samples={self.samples})"


class SampledOrder:
    """The rows of every epoch as a sampler draws them, checked.

    Args:
        where: Who asks; starts the messages.
        sampler: What draws them.
        rows: The rows to draw from.
        limit: Number of rows of the arrays.
        seed: Seed of the draws.

    Attributes:
        count: Rows of an epoch.

    Raises:
        TypeError: The sampler cannot be called, or gives something else than integers.
        ValueError: It gives no rows, or rows that are not among those to draw from.
    """

    def __init__(self, where: str, sampler: Sampler, rows: Rows, limit: int, seed: int) -> None:
        if not callable(sampler):
            raise TypeError(
                f"{where}: sampler must be a function (epoch, rows, seed) -> rows, such as "
                f"data.WeightedSampler, got {sampler!r}"
            )
        check_takes(where, "sampler", sampler, ("epoch", "rows", "seed"))
        self._where = where
        self._sampler = sampler
        self._rows = rows
        self._allowed = np.zeros(limit, dtype=bool)
        self._allowed[rows] = True
        self._seed = seed
        self.count = 0
        self.count = len(self(1))

    def __call__(self, epoch: int) -> Rows:
        """Row numbers of this epoch, int64 ``[count]``."""
        where, limit = self._where, len(self._allowed)
        drawn = np.asarray(self._sampler(epoch, self._rows, self._seed))
        if drawn.dtype.kind not in "iu" or drawn.ndim != 1:
            raise TypeError(
                f"{where}: the sampler must give a 1-d array of row numbers, got {drawn.dtype} of "
                f"shape {drawn.shape}"
            )
        if not len(drawn) or (self.count and len(drawn) != self.count):
            wanted = f"{self.count} as in the first epoch" if self.count else "at least 1"
            raise ValueError(
                f"{where}: the sampler gave {len(drawn)} rows in epoch {epoch}, expected {wanted}"
            )
        bad = (drawn < 0) | (drawn >= limit)
        bad |= ~self._allowed[np.where(bad, 0, drawn)]
        if bad.any():
            row = int(drawn[np.argmax(bad)])
            raise ValueError(
                f"{where}: the sampler gave row {row} in epoch {epoch}, which is not one of the "
                f"{len(self._rows)} rows to draw from"
            )
        return np.ascontiguousarray(drawn, dtype=np.int64)
