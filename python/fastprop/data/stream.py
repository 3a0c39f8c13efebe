"""Datasets that are read block by block, and may be larger than memory."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data.base import BaseDataset
from fastprop.data.batch import Batch
from fastprop.data.cache import cached
from fastprop.data.kept import KeptBlocks
from fastprop.data.prefetch import Pool
from fastprop.data.reading import Reading
from fastprop.data.windows import (
    Buffer,
    Convert,
    Window,
    fill_windows,
    row_order,
    transform_windows,
    window_rows,
)
from fastprop.random import BLOCKS

if TYPE_CHECKING:
    from fastprop.data.array_dataset import ArrayStream

_HEAD_ROWS = 256


# Numbers that are converted at once on their way into a window: what that needs stays in the cache.
_CONVERTED_NUMBERS = 1 << 18


class StreamDataset(BaseDataset):
    """A dataset that gives its rows in blocks, one after the other.

    Made by :func:`from_parquet` and the like with ``stream=True``, by :func:`from_iterable`,
    :func:`from_generator` and :meth:`ArrayDataset.stream`; or by a subclass, which says in
    :attr:`block_rows` what blocks there are and in :meth:`read` what is in one.

    In every epoch the blocks are taken in a new order, and the rows of a window, which spans
    several blocks, are shuffled with each other. The order is a function of (seed, epoch) alone:
    there is no other state, so a position is an epoch and a step.

    Attributes:
        block_rows: Rows of every block; ``None`` for a block whose length is not known before it
            has been read.
        window_rows: Rows that are shuffled with each other and in memory together; rounded up to
            whole batches. ``None`` takes as many as are 32 MB of float32.
        transforms: Functions that every batch goes through; see :meth:`map`.
        repeatable: Rows can be read more than once.
    """

    block_rows: Sequence[int | None] = ()
    window_rows: int | None = None
    repeatable: bool = True
    _head: Batch | None = None
    _kept: KeptBlocks | None = None  # of those that give the same rows in every epoch

    @abstractmethod
    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        """The rows of a block, in pieces of any length (1 to 4 MB go well).

        Called in a thread, and perhaps again while an earlier iterator is in use.

        Args:
            block: Its number.
            epoch: The epoch's number, for data that differ from epoch to epoch.
        """

    def read_from(self, block: int, epoch: int, start: int) -> Iterator[tuple[int, Batch]]:
        """The rows of a block from row `start` on, each piece with its first row's number.

        Override it where rows can be left out without reading them.
        """
        at = 0
        for piece in self._pieces_of(block, epoch):
            rows = len(piece.arrays[0])
            if at + rows > start:
                skip = max(0, start - at)
                yield at + skip, piece.slice(skip, rows)
            at += rows

    def _pieces_of(self, block: int, epoch: int) -> Iterator[Batch]:
        if self._kept is None:
            return self.read(block, epoch)
        return self._kept.pieces(block, lambda: self.read(block, epoch))

    def block_name(self, block: int) -> str:
        """What a block is called in messages."""
        return f"block {block}"

    @property
    def rows(self) -> int | None:
        """How many rows there are; ``None`` where that is not known before they have been read."""
        total = 0
        for rows in self.block_rows:
            if rows is None:
                return None
            total += rows
        return total

    def head(self) -> Batch:
        """Some of the first rows, as they are before any transform; read once and kept.

        Raises:
            ValueError: There is no row.
        """
        if self._head is None:
            self._head = self._first_rows()
        return self._head

    def _first_rows(self) -> Batch:
        for block in range(len(self.block_rows)):
            pieces = self._pieces_of(block, 1)
            for piece in pieces:
                if len(piece.arrays[0]):
                    if len(piece.arrays[0]) == self.block_rows[block]:
                        next(pieces, None)  # it is whole: let it be kept, where blocks are
                    return piece.slice(0, _HEAD_ROWS).copy()
        first = f": nothing in {self.block_name(0)}" if len(self.block_rows) else ""
        raise ValueError(f"{self!r} has no rows{first}")

    def fingerprint(self) -> str | None:
        """Something that is different for other rows; ``None`` where that cannot be told."""
        return None

    def cache(self, folder: str | os.PathLike[str] | None = None) -> ArrayStream:
        """The same rows from files that need no decoding, which are written now.

        Decoding Parquet or text takes as long as training a network of some size on it. Rows that
        are read from memory-mapped files train at the speed of rows in memory.

        Args:
            folder: Where to write, one ``.npy`` file for each array. Files of the same rows that
                are there already are used as they are (for Parquet and CSV: the same files, of the
                same time, with the same arguments). ``None`` takes a temporary folder, which is
                deleted with the dataset.

        Raises:
            OSError: The files cannot be written.
            ValueError: As for reading.
        """
        return cached(self, folder)

    # -- order ----------------------------------------------------------------------------------

    def block_order(self, epoch: int, *, shuffle: bool, seed: int, size: int) -> NDArray[np.int64]:
        """The order of the blocks, a function of (seed, epoch) alone.

        Where all rows fit into one window of `size` rows, blocks stay in order: shuffling the rows
        does it all, as for data in memory.
        """
        count = len(self.block_rows)
        rows = self.rows
        if not shuffle or (rows is not None and rows <= size):
            return np.arange(count, dtype=np.int64)
        order: NDArray[np.int64] = _core.permutation(seed, BLOCKS, epoch, count)
        return order

    def order(
        self, epoch: int, *, batch_size: int, seed: int = 0, shuffle: bool = True
    ) -> NDArray[np.int64]:
        """The numbers of all rows in the order in which :meth:`Trainer.fit` takes them.

        A function of its arguments: that is all the state that reading has.

        Raises:
            ValueError: It is not known how many rows there are.
        """
        rows = self.rows
        if rows is None:
            raise ValueError(f"{type(self).__name__}.order: the number of rows is not known")
        reading = Reading(batch_size, shuffle, seed)
        size = window_rows(self.head(), batch_size, self.window_rows, rows)
        ends = np.cumsum([0, *map(int, self.block_rows)])  # type: ignore[arg-type]
        blocks = self.block_order(epoch, shuffle=shuffle, seed=seed, size=size)
        found = [np.arange(ends[b], ends[b + 1]) for b in blocks]
        read = np.concatenate([np.zeros(0, np.int64), *found])
        for number, begin in enumerate(range(0, rows, size)):
            part = read[begin : begin + size]
            read[begin : begin + size] = part[row_order(reading, epoch, number, len(part))]
        return read

    # -- reading --------------------------------------------------------------------------------

    def windows(
        self, reading: Reading, epoch: int, first_step: int, pool: Pool[Buffer], convert: Convert
    ) -> Iterator[tuple[Buffer, Window]]:
        """The steps of an epoch from `first_step` on.

        Args:
            reading: How to read.
            epoch: Decides the order.
            first_step: Where to begin; what comes before is not read where its length is known.
            pool: Memory for windows.
            convert: Gives every piece, or every transformed batch, the form that it is wanted in.
        """
        blocks, size = self._plan(reading, epoch)
        skipped = first_step * reading.batch // size * size
        pieces = self._pieces(blocks, epoch, skipped)
        if not self.transforms:
            yield from fill_windows(pieces, reading, epoch, first_step, size, pool, convert)
            return
        own = self.spare.take()
        raw = Pool([own])
        filled = fill_windows(pieces, reading, epoch, first_step, size, raw, None)

        def unfilled() -> Iterator[Window]:
            for buffer, window in filled:
                yield window
                raw.give_back(buffer)

        try:
            yield from transform_windows(unfilled(), self.transforms, reading, epoch, pool, convert)
        finally:
            self.spare.give_back(own)

    def _plan(self, reading: Reading, epoch: int) -> tuple[NDArray[np.int64], int]:
        """The order of the blocks, and the rows of a window."""
        size = window_rows(self.head(), reading.batch, self.window_rows, self.rows)
        order = self.block_order(epoch, shuffle=reading.shuffle, seed=reading.seed, size=size)
        return order, size

    def _pieces(
        self, blocks: NDArray[np.int64], epoch: int, skip: int
    ) -> Iterator[tuple[str, Batch]]:
        for number in blocks:
            block = int(number)
            rows = self.block_rows[block]
            if rows is not None and skip >= rows:
                skip -= rows
                continue
            name, seen = self.block_name(block), 0
            for start, piece in self.read_from(block, epoch, 0 if rows is None else skip):
                have = len(piece.arrays[0])
                seen = start + have
                if rows is None and skip:
                    left_out = min(skip, have)
                    skip -= left_out
                    start, piece, have = (
                        start + left_out,
                        piece.slice(left_out, have),
                        have - left_out,
                    )
                step = _rows_at_once(piece)
                for begin in range(0, have, step):
                    part = piece.slice(begin, min(begin + step, have))
                    yield f"{name}, from row {start + begin} on", part
            if rows is not None:
                skip = 0
                if seen != rows:
                    raise ValueError(f"{name} has {seen} rows, block_rows says {rows}")

    def __repr__(self) -> str:
        rows = "an unknown number of" if self.rows is None else self.rows
        blocks = len(self.block_rows)
        return f"{type(self).__name__}({rows} rows in {blocks} block{'s' if blocks != 1 else ''})"


def _rows_at_once(piece: Batch) -> int:
    numbers = sum(array.size for array in piece.arrays)
    return max(1, _CONVERTED_NUMBERS * len(piece.arrays[0]) // max(1, numbers))
