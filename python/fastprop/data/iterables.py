"""Batches that the user's own code makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from fastprop.data.base import RowsGone
from fastprop.data.batch import Batch, as_batch
from fastprop.data.stream import StreamDataset
from fastprop.data.windows import check_window_rows
from fastprop.registry import type_name


def from_iterable(
    batches: Iterable[Any], *, rows: int | None = None, window_rows: int | None = None
) -> IterableStream:
    """A dataset from an iterable that gives rows.

    Args:
        batches: What it gives are arrays of any number of rows: inputs alone, or ``(x, y)``, or
            ``(x, y, sample_weight)``. It is iterated once an epoch, so for several epochs it must
            be one that can be iterated again, such as a list; for a generator see
            :func:`from_generator`.
        rows: How many rows there are in all, where that is known: then it is noticed if they are
            fewer or more.
        window_rows: Rows that are shuffled with each other; see :class:`StreamDataset`. Their
            windows come in the order of the iterable.

    The sizes of the arrays have nothing to do with the batch size of the training.

    Raises:
        TypeError: `batches` cannot be iterated.
    """
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes):
        raise TypeError(f"from_iterable: expects an iterable of arrays, got {type_name(batches)}")
    if isinstance(batches, Iterator):
        return _OnceStream(batches, _check_rows("from_iterable", rows), window_rows)
    return IterableStream(
        "from_iterable", lambda epoch: batches, _check_rows("from_iterable", rows), window_rows
    )


def from_generator(
    function: Callable[..., Iterable[Any]],
    *,
    rows: int | None = None,
    window_rows: int | None = None,
) -> IterableStream:
    """A dataset from a generator function, which is called once for every epoch.

    Args:
        function: Called without arguments, or with the epoch's number if it takes one argument.
            What it gives is as for :func:`from_iterable`. It must give the same rows whenever it
            is called (for the same epoch), if a run is to be repeatable and to be resumed.
        rows: As for :func:`from_iterable`.
        window_rows: As for :func:`from_iterable`.

    It is called once more, for a look at the first rows.

    Raises:
        TypeError: `function` cannot be called so.
    """
    where = "from_generator"
    if not callable(function):
        raise TypeError(f"{where}: expects a generator function, got {type_name(function)}")
    made = _with_epoch(where, function)
    return IterableStream(where, made, _check_rows(where, rows), window_rows)


class IterableStream(StreamDataset):
    """Rows from an iterable; see :func:`from_iterable` and :func:`from_generator`."""

    def __init__(
        self,
        where: str,
        make: Callable[[int], Iterable[Any]],
        rows: int | None,
        window_rows: int | None,
    ) -> None:
        self._where = where
        self._make = make
        self.block_rows = [rows]
        self.window_rows = check_window_rows(where, window_rows)

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        wanted = self.block_rows[0]
        count = items = 0
        for items, item in enumerate(self._iterable(epoch), 1):
            batch = as_batch(f"{self._where}: item {items - 1}", item)
            count += len(batch.arrays[0])
            if wanted is not None and count > wanted:
                raise ValueError(
                    f"{self._where}: item {items - 1} is beyond the {wanted} rows announced"
                )
            if len(batch.arrays[0]):
                yield batch
        if wanted is not None and count < wanted:
            raise ValueError(
                f"{self._where}: ended after {items} items with {count} rows of {wanted}"
            )

    def _iterable(self, epoch: int) -> Iterable[Any]:
        made = self._make(epoch)
        if not isinstance(made, Iterable):
            raise TypeError(f"{self._where}: the function gave {type_name(made)}, no iterator")
        return made

    def _first_rows(self) -> Batch:
        for i, item in enumerate(self._iterable(1)):
            batch = as_batch(f"{self._where}: item {i}", item)
            if len(batch.arrays[0]):
                return batch.slice(0, 256).copy()
        raise ValueError(f"{self._where}: gave no rows")

    def block_name(self, block: int) -> str:
        return "the iterable" if self._where == "from_iterable" else "the generator"


class _OnceStream(IterableStream):
    """Rows from an iterator, which gives them once."""

    repeatable = False

    def __init__(self, iterator: Iterator[Any], rows: int | None, window_rows: int | None) -> None:
        super().__init__("from_iterable", lambda epoch: iterator, rows, window_rows)
        self._state = _Rest(iterator)  # shared by copies, such as map makes

    def _first_rows(self) -> Batch:
        seen = []
        for item in self._state.rest:
            seen.append(item)
            batch = as_batch(f"{self._where}: item {len(seen) - 1}", item)
            if len(batch.arrays[0]):
                self._state.rest = chain(seen, self._state.rest)
                return batch.slice(0, 256).copy()
        raise ValueError(f"{self._where}: the iterator gave no rows; has it been used already?")

    def _iterable(self, epoch: int) -> Iterable[Any]:
        return self._state.rest

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        self.head()
        if self._state.used:
            raise RowsGone(
                f"{self._where}: an iterator gives its rows once, and they are used up; for "
                "several epochs give a list, or from_generator(function)"
            )
        self._state.used = True
        yield from super().read(block, epoch)


class _Rest:
    """What an iterator has not given yet."""

    def __init__(self, rest: Iterator[Any]) -> None:
        self.rest = rest
        self.used = False


def _with_epoch(where: str, function: Callable[..., Any]) -> Callable[[int], Iterable[Any]]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return lambda epoch: function()
    for arguments in ((), (1,)):
        if _binds(signature, arguments):
            return (lambda epoch: function(epoch)) if arguments else (lambda epoch: function())
    name = getattr(function, "__name__", type_name(function))
    raise TypeError(f"{where}: {name}{signature} takes neither no argument nor the epoch alone")


def _binds(signature: inspect.Signature, arguments: tuple[int, ...]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _check_rows(where: str, rows: int | None) -> int | None:
    if rows is None:
        return None
    if isinstance(rows, bool) or not isinstance(rows, int):
        raise TypeError(f"{where}: rows must be an integer or None, got {rows!r}")
    if rows < 1:
        raise ValueError(f"{where}: rows must be at least 1, got {rows}")
    return rows
