"""Datasets whose rows can be taken in any order: arrays in memory or memory-mapped files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastprop.data.arrays import to_array
from fastprop.data.base import BaseDataset
from fastprop.data.batch import Batch, same_rows
from fastprop.data.prefetch import Pool
from fastprop.data.reading import Reading
from fastprop.data.sampler import RowOrder
from fastprop.data.stream import StreamDataset
from fastprop.data.windows import (
    Buffer,
    Convert,
    Window,
    check_window_rows,
    row_order,
    transform_windows,
    window_rows,
)

_BLOCKS_PER_WINDOW = 16


class ArrayDataset(BaseDataset):
    """Inputs, targets and weights that belong together.

    Args:
        x: Inputs ``[rows, …]``: an array, also a memory-mapped one, a frame, nested lists; a tuple
            of them for a model with several inputs.
        y: Targets, alike, or ``None``.
        sample_weight: A weight for each row, or ``None``.
        feature_names: What the columns of `x` are called; taken from a frame if left out.

    Attributes:
        feature_names: Names of the columns of `x`, or ``None``.
        categories: Values of the columns that were read as categories, by the column's name.
        transforms: Functions that every batch goes through; see :meth:`map`.

    Nothing is copied. Without transforms a fit on it is a fit on its arrays, at the same speed.

    Raises:
        ValueError: Lengths that differ, an array without rows.
        TypeError: What is no array of numbers.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        feature_names: tuple[str, ...] | None = None,
    ) -> None:
        given = Batch(x, tuple(y) if _is_list_of_arrays(y) else y, sample_weight)
        arrays = [to_array(f"ArrayDataset: {n}", a, keep_dtype=True) for n, a in given.named]
        self._batch = given.with_arrays(arrays)
        if not same_rows("ArrayDataset", self._batch):
            raise ValueError(f"ArrayDataset: x is empty (shape {arrays[0].shape})")
        self._rows: NDArray[np.int64] | None = None
        if feature_names is None and hasattr(x, "columns"):
            feature_names = tuple(str(column) for column in x.columns)
        self.feature_names = feature_names
        self.categories: dict[str, tuple[Any, ...]] = {}

    @property
    def x(self) -> Any:
        """The inputs, those of all its rows."""
        return self.batch.x

    @property
    def y(self) -> Any:
        """The targets, or ``None``."""
        return self.batch.y

    @property
    def sample_weight(self) -> Any:
        """The weights, or ``None``."""
        return self.batch.sample_weight

    @property
    def batch(self) -> Batch:
        """All rows, before any transform; copies where they are a part of longer arrays."""
        return self._batch if self._rows is None else self._batch.take(self._rows)

    @property
    def whole(self) -> Batch:
        """The arrays, also with rows that do not belong to it."""
        return self._batch

    @property
    def row_numbers(self) -> NDArray[np.int64] | None:
        """Which rows of the arrays belong to it; ``None`` for all."""
        return self._rows

    def __len__(self) -> int:
        return len(self._batch.arrays[0]) if self._rows is None else len(self._rows)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self)

    def take(self, rows: ArrayLike) -> ArrayDataset:
        """Some of the rows; nothing is copied.

        Args:
            rows: Their numbers, or a mask.

        Raises:
            IndexError: There is no such row.
            ValueError: No row is left.
        """
        here = np.arange(len(self)) if self._rows is None else self._rows
        made = copy.copy(self)
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iub":
            raise ValueError(
                "ArrayDataset.take: expects numbers of rows or a mask, got shape "
                f"{chosen.shape} and dtype {chosen.dtype}"
            )
        try:
            made._rows = here[chosen]
        except IndexError as error:
            raise IndexError(f"ArrayDataset.take: of {len(self)} rows: {error}") from None
        if not len(made._rows):
            raise ValueError("ArrayDataset.take: the mask leaves no row")
        return made

    def stream(self, *, window_rows: int | None = None) -> ArrayStream:
        """The same rows read forwards, block by block, for memory-mapped files beyond memory.

        Rows are then shuffled within windows, so that a disk is read in long stretches, and
        converted to the model's dtype window by window, not all at once.

        Args:
            window_rows: See :class:`StreamDataset`.
        """
        return ArrayStream(self, window_rows)

    def head(self) -> Batch:
        """Some of the first rows, as they are before any transform."""
        rows = np.arange(min(len(self), 256)) if self._rows is None else self._rows[:256]
        return self._batch.take(rows)

    def windows(
        self, reading: Reading, epoch: int, first_step: int, pool: Pool[Buffer], convert: Convert
    ) -> Iterator[tuple[Buffer, Window]]:
        """The steps of an epoch from `first_step` on; see :meth:`StreamDataset.windows`."""
        made = self._windows(reading, epoch, first_step)
        if self.transforms:
            yield from transform_windows(made, self.transforms, reading, epoch, pool, convert)
            return
        for window in made:
            rows = window.rows.take(window.order)
            order = np.arange(len(window.order), dtype=np.int64)
            place = f"the rows of epoch {epoch} from step {window.first + 1} on"
            yield pool.take(), Window(window.first, convert(rows, place), order)

    def _windows(self, reading: Reading, epoch: int, first_step: int) -> Iterator[Window]:
        order = RowOrder(len(self), self._rows, shuffle=reading.shuffle, seed=reading.seed)(epoch)
        if reading.drop_last:
            order = order[: len(order) - len(order) % reading.batch]
        size = window_rows(self.head(), reading.batch, None, len(self))
        begin = first_step * reading.batch
        while begin < len(order):
            end = begin + size - begin % size
            yield Window(begin // reading.batch, self._batch, order[begin:end])
            begin = end

    def __repr__(self) -> str:
        parts = [f"{n} {a.shape} {a.dtype}" for n, a in self._batch.named]
        rows = "" if self._rows is None else f", {len(self)} rows of them"
        maps = f", {len(self.transforms)} transforms" if self.transforms else ""
        return f"ArrayDataset({', '.join(parts)}{rows}{maps})"


class ArrayStream(StreamDataset):
    """Arrays, read forwards in blocks of a sixteenth of a window.

    Args:
        dataset: The arrays.
        rows: Rows of a window; ``None`` for 32 MB of float32.
    """

    def __init__(self, dataset: ArrayDataset, rows: int | None = None) -> None:
        self.window_rows = rows = check_window_rows("ArrayDataset.stream", rows)
        self.transforms = dataset.transforms
        self._data = dataset.whole
        self._chosen = dataset.row_numbers
        if self._chosen is not None and np.any(np.diff(self._chosen) < 0):
            self._chosen = np.sort(self._chosen)
        count = len(dataset)
        self._block = max(1, window_rows(dataset.head(), 1, rows, count) // _BLOCKS_PER_WINDOW)
        self.block_rows = [
            min(self._block, count - begin) for begin in range(0, count, self._block)
        ]

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        for _, piece in self.read_from(block, epoch, 0):
            yield piece

    def read_from(self, block: int, epoch: int, start: int) -> Iterator[tuple[int, Batch]]:
        begin = block * self._block
        end = begin + int(self.block_rows[block] or 0)
        if self._chosen is None:
            yield start, self._data.slice(begin + start, end)
        else:
            yield start, self._data.take(self._chosen[begin + start : end])

    def windows(
        self, reading: Reading, epoch: int, first_step: int, pool: Pool[Buffer], convert: Convert
    ) -> Iterator[tuple[Buffer, Window]]:
        whole = None if self.transforms or self._chosen is not None else self._as_it_is(convert)
        if whole is None:
            yield from super().windows(reading, epoch, first_step, pool, convert)
            return
        # Nothing has to be converted: a step can take its rows from where they lie. What is left
        # to the thread is to look at them, which also brings them in from the disk.
        blocks, size = self._plan(reading, epoch)
        number, skip = divmod(first_step * reading.batch, size)
        for stretches in self._stretches(blocks, size, number):
            for first, end in stretches:
                convert(self._data.slice(first, end), f"rows {first} to {end - 1}")
            rows = np.concatenate([np.arange(first, end) for first, end in stretches])
            used = len(rows) - len(rows) % reading.batch if reading.drop_last else len(rows)
            order = rows[row_order(reading, epoch, number, len(rows))][skip:used]
            if len(order):
                first_step = (number * size + skip) // reading.batch
                yield pool.take(), Window(first_step, whole, order)
            number, skip = number + 1, 0

    def _stretches(
        self, blocks: NDArray[np.int64], size: int, number: int
    ) -> Iterator[list[tuple[int, int]]]:
        """First row and end of every piece of a window of `size` rows, from window `number` on."""
        skip, count = number * size, 0
        found: list[tuple[int, int]] = []
        for block in blocks:
            begin = int(block) * self._block
            end = begin + int(self.block_rows[block] or 0)
            left_out = min(skip, end - begin)
            begin, skip = begin + left_out, skip - left_out
            while begin < end:
                taken = min(end - begin, size - count)
                found.append((begin, begin + taken))
                begin, count = begin + taken, count + taken
                if count == size:
                    yield found
                    found, count = [], 0
        if found:
            yield found

    def _as_it_is(self, convert: Convert) -> Batch | None:
        """The arrays in the form that they are wanted in; ``None`` if they have another one."""
        part = self._data.slice(0, 1)
        made = convert(part, "the first row")
        if len(made.arrays) != len(part.arrays):
            return None
        wholes = []
        for whole, given, wanted in zip(self._data.arrays, part.arrays, made.arrays, strict=True):
            as_it_is = np.shares_memory(given, wanted) and whole.flags.aligned
            if not as_it_is or not whole.flags.c_contiguous:
                return None
            wholes.append(whole.reshape(len(whole), *wanted.shape[1:]))
        return made.with_arrays(wholes)

    def block_name(self, block: int) -> str:
        return f"rows {block * self._block} and on"


def _is_list_of_arrays(y: Any) -> bool:
    return isinstance(y, list) and bool(y) and all(getattr(v, "ndim", 0) > 0 for v in y)
