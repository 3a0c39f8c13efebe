"""Decoded rows kept in memory from epoch to epoch, as long as there is room for them."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from typing import SupportsIndex

from fastprop.data.batch import Batch

KEEP_BYTES = 1 << 28
"""What tables that are read while training keep if the user says nothing."""


def check_keep_bytes(where: str, keep_bytes: SupportsIndex) -> int:
    """A number of bytes, 0 or more.

    Raises:
        TypeError: Not an integer.
        ValueError: Less than 0.
    """
    if isinstance(keep_bytes, bool) or not hasattr(keep_bytes, "__index__"):
        raise TypeError(f"{where}: keep_bytes must be an integer, got {keep_bytes!r}")
    if operator.index(keep_bytes) < 0:
        raise ValueError(f"{where}: keep_bytes must be at least 0, got {keep_bytes}")
    return operator.index(keep_bytes)


class KeptBlocks:
    """Blocks that need not be decoded again.

    Decoding a Parquet file takes about half as long as a network of its width takes to learn from
    it, in every epoch. Blocks are kept whole, in the order in which they were read, until
    the room is used up; the others are decoded anew.

    Args:
        limit: Bytes of all that is kept.

    Attributes:
        bytes: Bytes that are kept now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: dict[int, list[Batch]] = {}
        self._too_large: set[int] = set()
        self._lock = threading.Lock()  # two readers may be at work on parts of one dataset
        self.bytes = 0

    def pieces(self, block: int, read: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
        """The rows of a block, from memory where they are there."""
        found = self._blocks.get(block)
        if found is not None:
            yield from found
            return
        collected: list[Batch] | None = None if block in self._too_large else []
        size = 0
        for piece in read():
            yield piece
            if collected is None:
                continue
            collected.append(piece)
            size += sum(array.nbytes for array in piece.arrays)
            if self.bytes + size > self._limit:
                collected = None
                self._too_large.add(block)  # what is kept never becomes less
        if collected is not None:
            self._keep(block, collected, size)

    def _keep(self, block: int, pieces: list[Batch], size: int) -> None:
        with self._lock:
            if block not in self._blocks and self.bytes + size <= self._limit:
                self._blocks[block] = pieces
                self.bytes += size
