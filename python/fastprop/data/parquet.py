"""Parquet files."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.batch import Batch
from fastprop.data.extras import load
from fastprop.data.kept import KEEP_BYTES, KeptBlocks, check_keep_bytes
from fastprop.data.paths import Paths, files_of, stamp
from fastprop.data.stream import StreamDataset
from fastprop.data.table_arguments import Categories
from fastprop.data.tables import Layout, TableReader, collect, find_categories
from fastprop.data.windows import check_window_rows

# Numbers that are decoded at once, two windows of them: 64 MB of float32. Each column of a piece
# costs pyarrow some 20 µs, however long it is: with a quarter of that, 784 columns in row groups of
# 65,536 rows took 1.2 times as long.
_PIECE_NUMBERS = 1 << 24


def from_parquet(
    path: Paths,
    target: str | Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    sample_weight: str | None = None,
    categories: Categories = (),
    missing: Any = "error",
    dtype: DTypeLike | None = None,
    stream: bool = False,
    window_rows: int | None = None,
    keep_bytes: int = KEEP_BYTES,
) -> ArrayDataset | ParquetStream:
    """Inputs and targets from columns of Parquet files.

    Args:
        path: A file, a folder of ``*.parquet`` files, or a list of files; they have one schema.
        target: Name of the column of targets, or names of several, or ``None``.
        columns: Names of the inputs in their order; ``None`` takes all other columns.
        sample_weight: Name of the column of weights.
        categories: Columns that hold categories: names, or ``{"city": ["Oslo", "Rome"]}`` with the
            values in the order of their numbers. Targets become class numbers, inputs a column of
            zeros and ones for each value. Without values these are found in the data and sorted.
        missing: What to do about null and NaN: ``"error"``, ``"drop"`` the row, a number to put
            there, or a dict with one of these for each column.
        dtype: Of the inputs; ``None`` for the smallest that holds all columns exactly.
        stream: Leave the data in the files and read them while training.
        window_rows: For a stream; see :class:`StreamDataset`.
        keep_bytes: Of a stream: decoded rows that stay in memory, in their own dtype, so that the
            next epoch need not decode them again; 0 decodes all in every epoch.

    Returns:
        An :class:`ArrayDataset`, or with ``stream=True`` a :class:`StreamDataset` whose blocks are
        the files' row groups.

    A column of lists of one length, of fixed-size binaries (as bytes) or of tensors gives several
    numbers a row; alone it keeps its shape.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: There is no such file, or none in the folder.
        ValueError: No Parquet, a column that is not there, a missing value, an unknown category.
        TypeError: A column that cannot become numbers.
    """
    where = "from_parquet"
    layout = Layout(where, target, columns, sample_weight, categories, missing, dtype)
    if stream and layout.open_categories:
        raise ValueError(
            f"{where}: a stream needs the values of its categories beforehand: "
            f"categories={{{layout.open_categories[0]!r}: [value, …]}}"
        )
    kept = KeptBlocks(check_keep_bytes(where, keep_bytes))
    dataset = ParquetStream(layout, files_of(where, path, ".parquet"), window_rows, kept)
    return dataset if stream else dataset.in_memory()


class ParquetStream(StreamDataset):
    """Row groups of Parquet files, decoded as they are read; see :func:`from_parquet`.

    Attributes:
        feature_names: What the columns of the inputs are called, or ``None``.
        categories: Values of the columns that are read as categories.
    """

    def __init__(
        self, layout: Layout, files: list[Path], window_rows: int | None, kept: KeptBlocks
    ) -> None:
        where = layout.where
        self._kept = kept
        self._parquet = load(where, "pyarrow.parquet", "table")
        self._layout = layout
        self._files = files
        self._metadata = [self._open(file).metadata for file in files]
        schema = self._open(files[0]).schema_arrow
        self.window_rows = check_window_rows(where, window_rows)
        self._groups = [
            (i, g, m.row_group(g).num_rows)
            for i, m in enumerate(self._metadata)
            for g in range(m.num_row_groups)
            if m.row_group(g).num_rows
        ]
        self._names = layout.wanted(schema.names, str(files[0]))
        self._check_schemas(schema)
        if layout.open_categories:
            find_categories(layout, self._tables(layout.open_categories))
        self._reader = TableReader(layout, schema, str(files[0]))
        self.block_rows = [None if self._reader.may_drop else rows for _, _, rows in self._groups]
        if not self._groups:
            raise ValueError(f"{where}: there are no rows in {files[0]}")
        types = load(where, "pyarrow", "table").types
        self._numbers = sum(_numbers_in(types, schema.field(name).type) for name in self._names)
        starts: dict[int, int] = {}
        self._starts = []
        for file, _, rows in self._groups:
            self._starts.append(starts.get(file, 0))
            starts[file] = self._starts[-1] + rows

    @property
    def categories(self) -> dict[str, tuple[Any, ...]]:
        return {n: tuple(v) for n, v in self._layout.categories.items() if v is not None}

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._reader.feature_names(self.head().x)

    def _open(self, file: Path, metadata: Any = None) -> Any:
        pa = load(self._layout.where, "pyarrow", "table")
        try:
            return self._parquet.ParquetFile(file, metadata=metadata)
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise ValueError(
                f"{self._layout.where}: {file} is no Parquet file, or a damaged one: {error}"
            ) from error

    def _check_schemas(self, schema: Any) -> None:
        for file in self._files[1:]:
            other = self._open(file).schema_arrow
            self._layout.check_other(other.names, str(file), self._names, str(self._files[0]))
            for name in self._names:
                have, first = other.field(name).type, schema.field(name).type
                if have != first:
                    raise ValueError(
                        f"{self._layout.where}: column {name!r} is of type {have} in {file}, of "
                        f"type {first} in {self._files[0]}"
                    )

    def _tables(self, names: list[str]) -> Iterator[Any]:
        for number, group, _ in self._groups:
            file = self._open(self._files[number], self._metadata[number])
            yield file.read_row_group(group, columns=names)

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        number, group, _ = self._groups[block]
        path, first = self._files[number], self._starts[block]
        pa = load(self._layout.where, "pyarrow", "table")
        with self._open(path, self._metadata[number]) as file:
            rows = max(256, _PIECE_NUMBERS // self._numbers)
            pieces = file.iter_batches(
                rows, row_groups=[group], columns=self._names, use_threads=False
            )
            try:
                for piece in pieces:
                    yield self._reader.batch(piece, str(path), first)
                    first += len(piece)
            except (pa.ArrowInvalid, OSError) as error:
                raise ValueError(
                    f"{self._layout.where}: {path}, row group {group} is damaged: {error}"
                ) from error

    def block_name(self, block: int) -> str:
        number, group, _ = self._groups[block]
        return f"{self._files[number]}, row group {group}"

    def fingerprint(self) -> str:
        return stamp(self._files, self._layout.arguments)

    def in_memory(self) -> ArrayDataset:
        """All rows as arrays."""
        pieces = (piece for block in range(len(self.block_rows)) for piece in self.read(block, 1))
        made = collect(self._layout.where + f": {self._files[0]}", pieces, self.rows)
        dataset = ArrayDataset(*made, feature_names=self._reader.feature_names(made.x))
        dataset.categories = copy.copy(self.categories)
        return dataset


def _numbers_in(types: Any, kind: Any) -> int:
    """Numbers in a value of a column, where its type says that."""
    kind = getattr(kind, "storage_type", kind)  # of a tensor
    if types.is_fixed_size_list(kind):
        return max(1, int(kind.list_size))
    return max(1, int(kind.byte_width)) if types.is_fixed_size_binary(kind) else 1
