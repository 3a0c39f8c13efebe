"""In which order rows are taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.random import SHUFFLE


class RowOrder:
    """The rows of every epoch, a function of (seed, epoch) alone.

    So a resumed or replayed epoch takes its rows in the same order, whatever happened before it.

    Args:
        count: How many rows there are.
        rows: Which rows of the arrays these are; ``None`` for all of them.
        shuffle: Take them in a new random order in every epoch.
        seed: Seed of the order.
    """

    def __init__(
        self, count: int, rows: NDArray[np.int64] | None = None, *, shuffle: bool, seed: int
    ) -> None:
        self.count = count
        self.shuffle = shuffle
        self.seed = seed
        self._rows = rows
        self._in_order = rows if rows is not None else np.arange(count, dtype=np.int64)

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Row numbers of this epoch, int64 ``[count]``."""
        if not self.shuffle:
            return self._in_order
        order: NDArray[np.int64] = _core.permutation(self.seed, SHUFFLE, epoch, self.count)
        return order if self._rows is None else self._rows[order]
