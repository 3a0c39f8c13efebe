"""Datasets divided into parts: training, validation, test; folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.batch import Batch
from fastprop.data.classes import count_classes, strata
from fastprop.data.stream import StreamDataset
from fastprop.random import SPLIT, check_seed
from fastprop.registry import type_name

DatasetT = TypeVar("DatasetT", bound="ArrayDataset | StreamDataset")

# Rows of a stream are divided group by group, so that their number need not be known.
_GROUP = 1000


def split(
    dataset: DatasetT,
    fractions: Sequence[float],
    *,
    seed: SupportsIndex = 0,
    stratify: Any = False,
) -> list[DatasetT]:
    """Divide a dataset at random, such as ``train, validation, test = split(set, [.8, .1, .1])``.

    Args:
        dataset: An :class:`ArrayDataset`, whose parts share its arrays, or a
            :class:`StreamDataset`, all of which is read for every part of it.
        fractions: The share of the rows that each part gets; at most 1 together. Parts of streams
            have about that share.
        seed: The same seed gives the same parts.
        stratify: Divide every class alike, to a row or two: True for the classes of the dataset's
            targets, or the class of each row. Not for streams.

    Raises:
        TypeError: No dataset, fractions that are no numbers, or classes of which some are numbers
            and some are words.
        ValueError: Fractions that are not positive or more than 1 together; a part without rows;
            targets that are no classes.
    """
    if not isinstance(fractions, Sequence | np.ndarray):
        raise TypeError(f"split: fractions must be a list of numbers, got {fractions!r}")
    shares = [_share(value) for value in fractions]
    if not shares or sum(shares) > 1.0 + 1e-9:
        wanted = "at most 1 together" if shares else "at least one"
        raise ValueError(f"split: fractions must be {wanted}, got {list(fractions)}")
    ends = np.minimum(np.cumsum(shares), 1.0)
    return _divide("split", dataset, ends, [(i,) for i in range(len(shares))], seed, stratify)


def k_fold(
    dataset: DatasetT, k: int = 5, *, seed: SupportsIndex = 0, stratify: Any = False
) -> Iterator[tuple[DatasetT, DatasetT]]:
    """Every k-th of a dataset in turn as validation set, the rest to train on: k pairs.

    Sizes of folds differ by one row at most.

    Args:
        dataset: As for :func:`split`.
        k: Number of folds, 2 or more.
        seed: The same seed gives the same folds.
        stratify: As for :func:`split`. Every fold then has a k-th of the rows of every class, up to
            one row.

    Raises:
        TypeError: No dataset, or `k` or classes as they cannot be.
        ValueError: `k` is less than 2, or more than there are rows, or with `stratify` more than
            any class has; targets that are no classes.

    Warns:
        UserWarning: A class has fewer than `k` rows, so some folds have none of it.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k_fold: k must be an integer, got {k!r}")
    if k < 2:
        raise ValueError(f"k_fold: k must be at least 2, got {k}")
    ends = np.arange(1, k + 1) / k
    keep = [(i,) for i in range(k)]
    rest = [tuple(j for j in range(k) if j != i) for i in range(k)]
    parts = _divide("k_fold", dataset, ends, [*rest, *keep], seed, stratify)
    return iter(list(zip(parts[:k], parts[k:], strict=True)))


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"split: fractions must be numbers, got {value!r}")
    if not 0.0 < value <= 1.0:
        raise ValueError(f"split: fractions must be above 0 and at most 1, got {value}")
    return float(value)


def _divide(
    where: str,
    dataset: DatasetT,
    ends: NDArray[np.float64],
    keep: Sequence[tuple[int, ...]],
    seed: SupportsIndex,
    stratify: Any,
) -> list[DatasetT]:
    """Parts of a dataset; each is made of the slices ``keep[i]`` that end at `ends`."""
    number = check_seed(where, seed)
    stratified = stratify is not None and stratify is not False
    if isinstance(dataset, StreamDataset):
        if stratified:
            raise ValueError(
                f"{where}: stratify needs all rows in memory; a stream is divided at random, row "
                "by row, which leaves every class its share where it has many rows"
            )
        return [cast("DatasetT", PartStream(dataset, ends, slices, number)) for slices in keep]
    if not isinstance(dataset, ArrayDataset):
        raise TypeError(
            f"{where}: expects a dataset, got {type_name(dataset)}; data.ArrayDataset(x, y) makes "
            "one of arrays"
        )
    count = len(dataset)
    if stratified:
        names, classes, sizes = count_classes(where, _labels(where, dataset, stratify))
        if where == "k_fold":
            _check_classes(names, sizes, len(ends))
        part_of = _stratified(number, classes, ends)
    else:
        part_of = _slice_numbers(number, SPLIT, 0, count, ends)
    parts = []
    for slices in keep:
        rows = np.flatnonzero(np.isin(part_of, slices))
        if not len(rows):
            raise ValueError(f"{where}: a part of {count} rows would have none")
        parts.append(dataset.take(rows))
    return cast("list[DatasetT]", parts)


def _slice_numbers(
    seed: int, stream: int, step: int, count: int, ends: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Which slice each of `count` rows belongs to; ``len(ends)`` for none."""
    order = _core.permutation(seed, stream, step, count)
    cuts = np.rint(ends * count).astype(np.int64)
    numbers = np.empty(count, np.int64)
    numbers[order] = np.searchsorted(cuts, np.arange(count), side="right")
    return numbers


def _labels(where: str, dataset: ArrayDataset, stratify: Any) -> NDArray[Any]:
    """The class of each row of a dataset."""
    y = dataset.y if stratify is True else None
    targets = () if y is None else y if isinstance(y, tuple) else (y,)
    return strata(where, stratify, targets, len(dataset))


def _check_classes(names: NDArray[Any], sizes: NDArray[np.int64], k: int) -> None:
    if sizes.max() < k:
        raise ValueError(
            f"k_fold: k is {k}, but no class has more than {sizes.max()} rows to stratify"
        )
    if sizes.min() < k:
        warnings.warn(
            f"k_fold: class {names[np.argmin(sizes)]} has {sizes.min()} rows for {k} folds, so "
            "some of them have none of it",
            UserWarning,
            stacklevel=4,
        )


def _stratified(
    seed: int, classes: NDArray[np.int64], ends: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Which slice each row belongs to, where every class is divided alike.

    Rows are laid out class by class, at random within each, and slices take turns as evenly as
    their sizes allow: row i of n in a slice of m has its ideal place at (i + 1/2) n / m. So any
    stretch, such as a class, holds about its share of every slice, and equal slices differ by one.
    """
    count = len(classes)
    order = _core.permutation(seed, SPLIT, 0, count)
    by_class = order[np.argsort(classes[order], kind="stable")]
    sizes = np.diff(np.rint(np.append(ends, 1.0) * count).astype(np.int64), prepend=0)
    slices = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = (within + 0.5) / sizes[slices]
    # Equal slices begin a turn in their order, also where one of them has a row less.
    part_of = np.empty(count, np.int64)
    part_of[by_class] = slices[np.argsort(places, kind="stable")]
    return part_of


class PartStream(StreamDataset):
    """Some rows of each block of a stream.

    Args:
        base: The stream.
        ends: Where slices end, as shares of the rows.
        slices: Those that belong to it.
        seed: Of the division.
    """

    def __init__(
        self,
        base: StreamDataset,
        ends: NDArray[np.float64],
        slices: tuple[int, ...],
        seed: int,
    ) -> None:
        self._base = base
        self._ends = ends
        self._slices = slices
        self._seed = seed
        self.window_rows = base.window_rows
        self.transforms = base.transforms
        self.repeatable = base.repeatable
        self._spare = base.spare
        self.block_rows = [
            None if rows is None else int(self._mask(block, 0, rows).sum())
            for block, rows in enumerate(base.block_rows)
        ]

    def _mask(self, block: int, begin: int, end: int) -> NDArray[np.bool_]:
        """Which of the rows `begin` to `end` of a block belong to it."""
        found = []
        for group in range(begin // _GROUP, -(-end // _GROUP)):
            numbers = _slice_numbers(self._seed, SPLIT + 1 + group, block, _GROUP, self._ends)
            found.append(np.isin(numbers, self._slices))
        offset = begin // _GROUP * _GROUP
        whole = np.concatenate([np.zeros(0, bool), *found])
        return whole[begin - offset : end - offset]

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        for start, piece in self._base.read_from(block, epoch, 0):
            chosen = np.flatnonzero(self._mask(block, start, start + len(piece.arrays[0])))
            if len(chosen):
                yield piece.take(chosen)

    def block_name(self, block: int) -> str:
        return f"a part of {self._base.block_name(block)}"
