"""Where the rows of a step are: what training asks of every kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastprop.data import Dataset
from fastprop.data.reading import Reading
from fastprop.data.sampler import RowOrder

if TYPE_CHECKING:
    from fastprop.train.streams import StreamData


class Chunk(NamedTuple):
    """Steps whose rows are in memory, or mapped to it, at the same time.

    Attributes:
        first: The first of them, counted from 0 in its epoch.
        steps: How many there are.
        sources: The arrays in the order of the Program's placeholders.
        order: The rows of these steps, one step after the other.
        batch: Rows of a step; the last step of an epoch may have fewer.
    """

    first: int
    steps: int
    sources: list[NDArray[Any]]
    order: NDArray[np.int64]
    batch: int

    def rows_of(self, step: int, count: int) -> NDArray[np.int64]:
        """The rows of `count` steps from `step` on."""
        begin = (step - self.first) * self.batch
        return self.order[begin : begin + count * self.batch]


class Feed(Protocol):
    """Rows for every step, a function of (epoch, step) alone: there is no other position."""

    @property
    def rows(self) -> int | None:
        """Rows of an epoch; ``None`` where that is not known before the first one has ended."""

    @property
    def steps(self) -> int | None:
        """Steps of an epoch, alike."""

    @property
    def reading(self) -> bool:
        """A thread is at work on rows of later steps."""

    def at(self, epoch: int, step: int) -> Chunk | None:
        """The chunk that `step` of `epoch` is in; ``None`` past the last step of the epoch.

        Its arrays are valid until the next call.
        """

    def close(self) -> None:
        """Nothing more will be asked for."""


def chunk_at(feed: Feed, epoch: int, step: int) -> Chunk:
    """The chunk of a step that there is."""
    chunk = feed.at(epoch, step)
    assert chunk is not None
    return chunk


def of_steps(feed: Feed) -> str:
    """For messages: how many steps an epoch has, where that is known."""
    return "" if feed.steps is None else f" of {feed.steps}"


class ArrayFeed:
    """Arrays in memory: an epoch is one chunk.

    Args:
        data: The arrays.
        reading: How they are read.

    Attributes:
        sources: The arrays in the order of the Program's placeholders.
    """

    reading = False

    def __init__(self, data: Dataset, reading: Reading) -> None:
        count, batch = len(data), reading.batch
        self.rows = count - count % batch if reading.drop_last else count
        self.steps = -(-self.rows // batch)
        self._batch = batch
        self.sources = data.sources
        self._order = data.order(shuffle=reading.shuffle, seed=reading.seed)
        self._epoch = -1
        self._chunk: Chunk | None = None

    def at(self, epoch: int, step: int) -> Chunk | None:
        if step >= self.steps:
            return None
        if self._chunk is None or self._epoch != epoch:
            order = self._order(epoch)[: self.rows]
            self._chunk = Chunk(0, self.steps, self.sources, order, self._batch)
            self._epoch = epoch
        return self._chunk

    def rows_of_epochs(self, epoch: int, count: int) -> NDArray[np.int64]:
        """The rows of whole epochs, one behind the other."""
        order = self._order
        if isinstance(order, RowOrder) and self.rows == order.count:
            return order.several(epoch, count)
        return np.concatenate([order(epoch + i)[: self.rows] for i in range(count)])

    def close(self) -> None:
        self._chunk = None


def feed_of(data: Dataset | StreamData, reading: Reading, last_epoch: int) -> Feed:
    """What gives the rows of every step."""
    if isinstance(data, Dataset):
        return ArrayFeed(data, reading)
    from fastprop.train.streams import StreamFeed

    return StreamFeed(data, reading, last_epoch)
