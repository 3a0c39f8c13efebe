"""Arrow tables as inputs, targets and weights: which columns, and what to do with their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastprop import _core
from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.batch import Batch
from fastprop.data.columns import Column
from fastprop.data.extras import load
from fastprop.data.table_arguments import (
    Categories,
    category_values,
    column_names,
    listed,
    missing_values,
)
from fastprop.registry import did_you_mean

Array = NDArray[Any]


class Layout:
    """Which columns are inputs, targets and weights, as the user said.

    Args:
        where: Function that reads; starts the messages.
        target: A column's name, or several, or ``None``.
        columns: Names of the inputs; ``None`` for all others.
        sample_weight: A column's name, or ``None``.
        categories: Columns that hold categories, or the values of each.
        missing: ``"error"``, ``"drop"``, a number, or one of these for each column.
        dtype: Of the inputs; ``None`` for the smallest that holds all of them exactly.

    Raises:
        TypeError: An argument of another kind.
        ValueError: Unknown words; a column that is input and target.
    """

    def __init__(
        self,
        where: str,
        target: str | Sequence[str] | None,
        columns: Sequence[str] | None,
        sample_weight: str | None,
        categories: Categories,
        missing: Any,
        dtype: DTypeLike | None,
    ) -> None:
        self.where = where
        self.single_target = isinstance(target, str)
        self.targets = column_names(
            where, "target", [target] if isinstance(target, str) else target
        )
        self.columns = None if columns is None else column_names(where, "columns", columns)
        self.weight = column_names(
            where, "sample_weight", [] if sample_weight is None else [sample_weight]
        )
        self.categories = category_values(where, categories)
        self.missing = missing_values(where, missing)
        self.dtype = None if dtype is None else np.dtype(dtype)
        both = {*self.targets, *self.weight} & set(self.columns or ())
        if both:
            raise ValueError(
                f"{where}: {listed(sorted(both))} cannot be input and target or weight"
            )
        if self.columns == []:
            raise ValueError(f"{where}: columns is empty, expected at least one input")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All that was said, in a form that prints."""
        chosen = (self.single_target, self.targets, self.columns, self.weight)
        return (
            *chosen,
            sorted(self.categories.items()),
            sorted(self.missing.items(), key=str),
            self.dtype,
        )

    @property
    def open_categories(self) -> list[str]:
        """Columns whose categories are to be found in the data."""
        return [name for name, values in self.categories.items() if values is None]

    def wanted(self, there: Sequence[str], place: str) -> list[str]:
        """The columns to read, in order.

        Raises:
            ValueError: One is not there, or is there twice; the message lists what there is.
        """
        special = [*self.targets, *self.weight]
        inputs = self.columns
        if inputs is None:
            inputs = [name for name in there if name not in special]
        if not inputs:
            raise ValueError(f"{self.where}: {place} has no column but {listed(special)}")
        wanted = [*inputs, *special]
        for name in [*wanted, *self.categories, *self.missing]:
            if name is None or name in there:
                continue
            hint = did_you_mean(name, there)
            other = [mark for mark in ";\t|" if len(there) == 1 and mark in there[0]]
            if other and self.where == "from_csv":
                hint = f"; is it delimiter={other[0]!r}?"
            raise ValueError(
                f"{self.where}: {place} has no column {name!r}{hint} There are: {listed(there)}"
            )
        for name in wanted:
            if list(there).count(name) > 1:
                raise ValueError(f"{self.where}: {place} has several columns called {name!r}")
        return wanted

    def check_other(self, there: Sequence[str], place: str, wanted: list[str], first: str) -> None:
        """A further file, which needs the columns that are read of the first one.

        Raises:
            ValueError: One is not there.
        """
        self.wanted(there, place)
        for name in wanted:
            if name not in there:
                raise ValueError(
                    f"{self.where}: {place} has no column {name!r}, which {first} has. There are: "
                    f"{listed(there)}"
                )

    def policy(self, name: str) -> Any:
        """What to do with missing values of a column."""
        if name in self.missing:
            return self.missing[name]
        general = self.missing.get(None, "error")
        is_number = not isinstance(general, str)
        if is_number and (name in self.targets or name in self.weight or name in self.categories):
            return "error"
        return general


class TableReader:
    """Turns pieces of tables of one schema into Batches.

    Args:
        layout: What the user wants.
        schema: The tables' Arrow schema.
        place: What the table is called in messages.

    Attributes:
        names: The columns that are read.
        feature_names: What the columns of ``x`` are called.

    Raises:
        ValueError: A column is not there.
        TypeError: A column cannot become numbers.
    """

    def __init__(self, layout: Layout, schema: Any, place: str) -> None:
        self._layout = layout
        self._pa = load(layout.where, "pyarrow", "table")
        self.names = layout.wanted(schema.names, place)
        special = [*layout.targets, *layout.weight]
        self._inputs = [self._column(n, schema, True) for n in self.names if n not in special]
        self._targets = [self._column(name, schema, False) for name in layout.targets]
        self._weights = [self._column(name, schema, False) for name in layout.weight]
        self._all = [*self._inputs, *self._targets, *self._weights]
        self._plain = all(column.is_plain for column in self._inputs)
        self._order: tuple[list[str], list[int]] = [], []  # columns of a piece, those of the inputs

    def _column(self, name: str, schema: Any, is_input: bool) -> Column:
        layout = self._layout
        return Column(
            layout.where,
            name,
            schema.field(name).type,
            layout.categories.get(name),
            one_hot=is_input,
            missing=layout.policy(name),
        )

    @property
    def may_drop(self) -> bool:
        """Rows with missing values are left out, so their number is not known beforehand."""
        return any(column.missing == "drop" for column in self._all)

    def batch(self, table: Any, place: str, first_row: int = 0) -> Batch:
        """A piece of a table as arrays.

        Args:
            table: An Arrow table or record batch.
            place: What it is called in messages.
            first_row: The number that its first row has there.

        Raises:
            ValueError: A value is missing, is no number or is not among the categories; the message
                names row and column and what to do about it.
        """
        x = self._matrix(table)
        looked = self._all if x is None else [*self._targets, *self._weights]
        found = {c.name: c.filled(_whole(self._pa, table.column(c.name))) for c in looked}
        keep = np.ones(len(table), bool)
        for column in looked:
            mask = column.missing_rows(found[column.name])
            if mask is None or not mask.any():
                continue
            if column.missing == "drop":
                keep &= ~mask
            else:
                column.refuse_missing(place, first_row + int(np.argmax(mask)))
        rows: range | NDArray[np.int64] = range(first_row, first_row + len(table))
        if not keep.all():
            rows = first_row + np.flatnonzero(keep)
            chosen = self._pa.array(keep)
            found = {name: array.filter(chosen) for name, array in found.items()}
            x = None if x is None else x[keep]
        weight = None
        if self._weights:
            weight = self._weights[0].numbers(found[self._weights[0].name], place, rows)
        y = None
        if self._targets:
            parts = self._parts(self._targets, found, place, rows)
            y = parts[0] if self._layout.single_target else _side_by_side(parts, None)
        if x is None:
            x = _side_by_side(self._parts(self._inputs, found, place, rows), self._layout.dtype)
        return Batch(x, y, weight)

    def _matrix(self, table: Any) -> Array | None:
        """The inputs of a piece where all are columns of numbers, and no value is missing.

        What the other way asks of every column, and of all its values, takes Python as long as
        decoding them takes pyarrow, where there are hundreds.
        """
        if not self._plain:
            return None
        dtype = self._layout.dtype
        if dtype is None:
            dtype = np.result_type(*{column.dtype for column in self._inputs})
        floats = any(column.dtype.kind == "f" for column in self._inputs)
        if floats and dtype.kind != "f":  # which cannot hold NaN
            return None
        made = np.empty((len(table), len(self._inputs)), dtype)
        if not self._interleave(table, made):
            columns = [_whole(self._pa, table.column(column.name)) for column in self._inputs]
            if any(column.null_count for column in columns):
                return None
            for i, column in enumerate(columns):
                made[:, i] = column.to_numpy()
        # NaN is a missing value as well, and the smallest number where there is one.
        return None if floats and made.size and np.isnan(made.min()) else made

    def _interleave(self, table: Any, made: Array) -> bool:
        """Write the inputs side by side, unless one has another dtype than `made`, or a null.

        By blocks, as many columns at a time as stay in cache: NumPy writes one after the other.
        """
        batches = table.to_batches() if isinstance(table, self._pa.Table) else [table]
        names = table.schema.names
        if names != self._order[0]:
            places = {name: i for i, name in enumerate(names)}
            self._order = names, [places[column.name] for column in self._inputs]
        at = 0
        for batch in batches:
            part = made[at : at + len(batch)]
            if not _core.interleave_columns(batch.__arrow_c_array__(), self._order[1], part):
                return False
            at += len(batch)
        return True

    def refuse_text(self, table: Any, place: str) -> None:
        """Name the first text of a whole table that is no number."""
        for column in self._all:
            if column.is_text:
                array = _whole(self._pa, table.column(column.name))
                if self._pa.types.is_dictionary(array.type):
                    array = array.dictionary_decode()
                column.refuse_text(array, place, range(len(table)))

    def _parts(
        self, columns: list[Column], found: dict[str, Any], place: str, rows: Any
    ) -> list[Array]:
        return [column.numbers(found[column.name], place, rows) for column in columns]

    def feature_names(self, x: Array) -> tuple[str, ...] | None:
        """What the columns of `x` are called; ``None`` where it is no matrix."""
        names: list[str] = []
        for column in self._inputs:
            if column.values is not None:
                names += [f"{column.name}={value}" for value in column.values]
            else:
                names.append(column.name)
        return tuple(names) if x.ndim == 2 and x.shape[1] == len(names) else None


def collect(where: str, pieces: Iterable[Batch], rows: int | None) -> Batch:
    """All pieces as one Batch.

    Args:
        where: Starts the message.
        pieces: The pieces.
        rows: How many there will be, if that is known: then they are copied once.

    Raises:
        ValueError: There is no row, or pieces that do not fit each other.
    """
    whole: Batch | None = None
    kept: list[Batch] = []
    count = 0
    for piece in pieces:
        have = len(piece.arrays[0])
        if not have:
            continue
        if whole is None and rows is not None:
            whole = piece.with_arrays(
                [np.empty((rows, *a.shape[1:]), a.dtype) for a in piece.arrays]
            )
        if whole is None:
            kept.append(piece)
        else:
            for target, array in zip(whole.arrays, piece.arrays, strict=True):
                target[count : count + have] = array
        count += have
    if not count:
        raise ValueError(f"{where}: there are no rows")
    if whole is not None:
        return whole.slice(0, count)
    columns = zip(*(piece.arrays for piece in kept), strict=True)
    return kept[0].with_arrays([np.concatenate(arrays) for arrays in columns])


def in_memory(layout: Layout, table: Any, place: str) -> ArrayDataset:
    """A whole Arrow table as an ArrayDataset."""
    find_categories(layout, [table])
    reader = TableReader(layout, table.schema, place)
    reader.refuse_text(table, place)
    rows = None if reader.may_drop else len(table)
    made = collect(layout.where + f": {place}", _slices(reader, table, place), rows)
    dataset = ArrayDataset(*made, feature_names=reader.feature_names(made.x))
    dataset.categories = {n: tuple(v) for n, v in layout.categories.items() if v is not None}
    return dataset


def find_categories(layout: Layout, tables: Iterable[Any]) -> None:
    """Fill in the categories that are to be found in the data: sorted, each once."""
    pc = load(layout.where, "pyarrow.compute", "table")
    pa = load(layout.where, "pyarrow", "table")
    wanted = layout.open_categories
    found: dict[str, set[Any]] = {name: set() for name in wanted}
    for table in tables:
        for name in wanted:
            if name not in table.schema.names:
                continue  # the reader will say so
            column = _whole(pa, table.column(name))
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            found[name].update(pc.unique(column).drop_null().to_pylist())
    for name, values in found.items():
        other = layout.policy(name)  # what stands for a missing value is a category as well
        if other not in ("error", "drop") and all(type(other) is type(value) for value in values):
            values.add(other)
        layout.categories[name] = tuple(sorted(values))


def _slices(reader: TableReader, table: Any, place: str) -> Iterator[Batch]:
    step = max(1, (1 << 18) // max(1, len(reader.names)))
    for begin in range(0, len(table), step):
        yield reader.batch(table.slice(begin, step), place, begin)


def _whole(pa: Any, column: Any) -> Any:
    """One array, where a table has a column in several chunks."""
    if isinstance(column, pa.ChunkedArray):
        return (
            column.chunk(0)
            if column.num_chunks == 1
            else pa.concat_arrays(column.chunks)
            if column.num_chunks
            else pa.array([], column.type)
        )
    return column


def _side_by_side(parts: list[Array], dtype: np.dtype[Any] | None) -> Array:
    """Columns as one matrix; a single column of arrays stays as it is."""
    dtype = np.result_type(*(p.dtype for p in parts)) if dtype is None else dtype
    if len(parts) == 1 and parts[0].ndim > 1:
        return np.ascontiguousarray(parts[0], dtype)
    rows = len(parts[0])
    flat = [p.reshape(rows, int(np.prod(p.shape[1:], dtype=int))) for p in parts]
    made = np.empty((rows, sum(p.shape[1] for p in flat)), dtype)
    at = 0
    for part in flat:
        made[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return made
