"""Rows in the order of training, a window at a time.

A window is a whole number of batches that are in memory together, and the rows of a window are
shuffled with each other. Where its rows come from, and in which order, is a function of (seed,
epoch) alone, so (epoch, step) says all there is to say about how far the reading has come.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data.batch import Batch
from fastprop.data.reading import Reading
from fastprop.random import SHUFFLE

if TYPE_CHECKING:
    from fastprop.data.prefetch import Pool
    from fastprop.data.transform import Transform

T = TypeVar("T")

# Numbers in a window: 32 MB of float32. Two of them are in memory, one that is used and one that is
# filled.
WINDOW_NUMBERS = 1 << 23

_SPARE = 3  # one that is used, one that is filled, one for rows before their transforms

# Transformed steps are handed over sooner, as they may take long.
_SOON_NUMBERS, _SOON_STEPS = WINDOW_NUMBERS // 4, 256

Convert = Callable[[Batch, str], Batch]


class Window(NamedTuple):
    """Some steps of an epoch.

    Attributes:
        first: The first of these steps, counted from 0.
        rows: Where their rows are. Valid until the next window is asked for.
        order: The rows of these steps, one step after the other.
    """

    first: int
    rows: Batch
    order: NDArray[np.int64]


class Buffer:
    """Memory of a window, which the next window but one uses again, whatever it looks like."""

    def __init__(self) -> None:
        self._memory: list[NDArray[np.uint8]] = []

    def like(self, sample: Batch, rows: int) -> Batch:
        """Arrays of `rows` rows that look like those of `sample`."""
        shapes = [(rows, *a.shape[1:]) for a in sample.arrays]
        sizes = [
            math.prod(shape) * a.itemsize for shape, a in zip(shapes, sample.arrays, strict=True)
        ]
        have = [memory.nbytes for memory in self._memory]
        if len(have) != len(sizes) or any(map(operator.lt, have, sizes)):
            self._memory = []  # give it back before taking more
            self._memory = [np.empty(size, np.uint8) for size in sizes]
        arrays = zip(self._memory, sizes, sample.arrays, shapes, strict=True)
        return sample.with_arrays(
            [memory[:size].view(a.dtype).reshape(shape) for memory, size, a, shape in arrays]
        )


class SpareBuffers:
    """Buffers of a dataset that nobody uses at present.

    Memory that is new to a process is slow at first: on a virtual machine the two windows of an
    epoch of 784 columns took as long to be there (0.25 s) as five times the reading of kept rows.
    """

    def __init__(self) -> None:
        self._spare: list[Buffer] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return SpareBuffers, ()  # copies of a dataset have memory of their own

    def take(self) -> Buffer:
        """One for the caller alone."""
        try:
            return self._spare.pop()
        except IndexError:
            return Buffer()

    def give_back(self, buffer: Buffer) -> None:
        """Keep it for the next one who asks, if there are not enough."""
        if len(self._spare) < _SPARE:
            self._spare.append(buffer)


def window_rows(sample: Batch, batch: int, wanted: int | None, rows: int | None) -> int:
    """Rows of a window: as many as are wanted, in whole batches; at most all there are.

    Args:
        sample: What rows look like.
        batch: Rows of a step.
        wanted: What the user said, or ``None`` for 32 MB of float32.
        rows: How many there are, or ``None`` where that is not known.

    Raises:
        TypeError: The user said something that is no integer.
        ValueError: Less than 1.
    """
    wanted = check_window_rows("StreamDataset", wanted)  # a class of the user's may say anything
    if wanted is None:
        numbers = sum(int(np.prod(a.shape[1:], dtype=int)) for a in sample.arrays)
        wanted = WINDOW_NUMBERS // max(1, numbers)
    if rows is not None:
        wanted = min(wanted, rows)
    return max(1, -(-wanted // batch)) * batch


def check_window_rows(where: str, wanted: SupportsIndex | None) -> int | None:
    """Rows of a window as they are asked for.

    Raises:
        TypeError: Neither an integer nor ``None``.
        ValueError: Less than 1.
    """
    if wanted is None:
        return None
    if isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
        raise TypeError(f"{where}: window_rows must be an integer or None, got {wanted!r}")
    number = operator.index(wanted)
    if number < 1:
        raise ValueError(f"{where}: window_rows must be at least 1, got {number}")
    return number


def row_order(reading: Reading, epoch: int, window: int, count: int) -> NDArray[np.int64]:
    """The order of the rows of a window. That of the first is the one of data in memory."""
    if not reading.shuffle:
        return np.arange(count, dtype=np.int64)
    order: NDArray[np.int64] = _core.permutation(reading.seed, SHUFFLE + window, epoch, count)
    return order


def fill_windows(
    pieces: Iterator[tuple[str, Batch]],
    reading: Reading,
    epoch: int,
    first_step: int,
    size: int,
    pool: Pool[Buffer],
    convert: Convert | None,
) -> Iterator[tuple[Buffer, Window]]:
    """Windows of `size` rows, made of pieces of any length.

    Args:
        pieces: Rows from the window of `first_step` on, and where they are from.
        reading: How to read them.
        epoch: Decides the order.
        first_step: Where to begin.
        size: Rows of a window, in whole batches.
        pool: Where to take memory for them.
        convert: Applied to every piece before it is copied.
    """
    number, skip = divmod(first_step * reading.batch, size)
    left: tuple[str, Batch] | None = None
    while True:
        buffer = pool.take()
        rows, count, left = _fill(buffer, pieces, left, size, convert)
        if rows is None:
            pool.give_back(buffer)
            return
        used = count - count % reading.batch if reading.drop_last else count
        order = row_order(reading, epoch, number, count)[skip:used]
        if len(order):
            first = (number * size + skip) // reading.batch
            yield buffer, Window(first, rows.slice(0, count), order)
        else:
            pool.give_back(buffer)
        if count < size:
            return
        number, skip = number + 1, 0


def _fill(
    buffer: Buffer,
    pieces: Iterator[tuple[str, Batch]],
    left: tuple[str, Batch] | None,
    size: int,
    convert: Convert | None,
) -> tuple[Batch | None, int, tuple[str, Batch] | None]:
    """Rows copied to a buffer, their number, and what did not fit."""
    rows: Batch | None = None
    count = 0
    while count < size:
        if left is None:
            found = next(pieces, None)
            if found is None:
                break
            place, piece = found
            left = (place, convert(piece, place) if convert is not None else piece)
        place, piece = left
        if rows is None:
            rows = buffer.like(piece, size)
        have = len(piece.arrays[0])
        taken = min(have, size - count)
        _copy(place, piece.slice(0, taken), rows, count, taken)
        count += taken
        left = (place, piece.slice(taken, have)) if taken < have else None
    return rows, count, left


def _copy(place: str, piece: Batch, rows: Batch, begin: int, count: int) -> None:
    for (name, array), (_, target) in zip(piece.named, rows.named, strict=True):
        if array.dtype != target.dtype or array.shape[1:] != target.shape[1:]:
            raise ValueError(
                f"{place}: {name} has rows of shape {array.shape[1:]} and dtype {array.dtype}, "
                f"those before had {target.shape[1:]} and {target.dtype}"
            )
        target[begin : begin + count] = array


def transform_windows(
    windows: Iterator[Window],
    transforms: tuple[Transform, ...],
    reading: Reading,
    epoch: int,
    pool: Pool[Buffer],
    convert: Convert,
) -> Iterator[tuple[Buffer, Window]]:
    """Every batch of every window, transformed and converted, some steps at a time."""
    for window in windows:
        begin = 0
        while begin < len(window.order):
            buffer, made = _transform_some(window, begin, transforms, reading, epoch, pool, convert)
            yield buffer, made
            begin += len(made.order)


def _transform_some(
    window: Window,
    begin: int,
    transforms: tuple[Transform, ...],
    reading: Reading,
    epoch: int,
    pool: Pool[Buffer],
    convert: Convert,
) -> tuple[Buffer, Window]:
    """Steps of a window from row `begin` of its order on, few enough not to wait for long."""
    buffer = pool.take()
    first = window.first + begin // reading.batch
    rows: Batch | None = None
    size = done = 0
    while rows is None or done < size:
        batch = window.rows.take(window.order[begin + done : begin + done + reading.batch])
        step = first + done // reading.batch
        for transform in transforms:
            batch = transform(batch, (reading.seed, epoch, step))
        place = f"the transformed batch of epoch {epoch}, step {step + 1}"
        batch = convert(batch, place)
        if rows is None:
            size = min(_SOON_STEPS, _steps_of(batch, _SOON_NUMBERS)) * reading.batch
            size = min(size, len(window.order) - begin)
            rows = buffer.like(batch, size)
        _copy(place, batch, rows, done, len(batch.arrays[0]))
        done += len(batch.arrays[0])
    return buffer, Window(first, rows, np.arange(size, dtype=np.int64))


def _steps_of(batch: Batch, numbers: int) -> int:
    """How many steps have so many numbers; at least one."""
    return max(1, numbers // max(1, sum(array.size for array in batch.arrays)))
