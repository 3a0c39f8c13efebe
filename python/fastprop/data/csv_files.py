"""CSV files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from numpy.typing import DTypeLike

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.batch import Batch
from fastprop.data.extras import load
from fastprop.data.kept import KEEP_BYTES, KeptBlocks, check_keep_bytes
from fastprop.data.paths import Paths, files_of, stamp
from fastprop.data.stream import StreamDataset
from fastprop.data.table_arguments import Categories, column_names, listed
from fastprop.data.tables import Layout, TableReader, in_memory
from fastprop.data.windows import check_window_rows

Header = bool | Sequence[str] | Literal["auto"]

_BLOCK_BYTES = 1 << 20  # text that is parsed at once


def from_csv(
    path: Paths,
    target: str | Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    sample_weight: str | None = None,
    categories: Categories = (),
    missing: Any = "error",
    null_values: Sequence[str] = (),
    dtype: DTypeLike | None = None,
    delimiter: str = ",",
    decimal: str = ".",
    header: Header = "auto",
    encoding: str = "utf-8",
    stream: bool = False,
    window_rows: int | None = None,
    keep_bytes: int = KEEP_BYTES,
) -> ArrayDataset | CsvStream:
    """Inputs and targets from columns of CSV files.

    Args:
        path: A file (also compressed, ``.csv.gz``), a folder of ``*.csv`` files, or a list of
            files; they have the same columns.
        target: Name of the column of targets, or names of several, or ``None``.
        columns: Names of the inputs in their order; ``None`` takes all other columns.
        sample_weight: Name of the column of weights.
        categories: As for :func:`from_parquet`; values are text.
        missing: What to do about empty fields, ``NA`` and the like: ``"error"``, ``"drop"`` the
            row, a number to put there, or a dict with one of these for each column.
        null_values: More words that mean a missing value.
        dtype: Of the inputs; ``None`` for the smallest that holds all columns exactly.
        delimiter: Character between fields.
        decimal: The decimal point.
        header: True takes the names from the first line, False calls the columns ``f0``, ``f1``,
            …, and a list has the names of a file without such a line. ``"auto"`` is True, and
            refuses a first line that is all numbers: these may be names or the first row.
        encoding: Of the text; a byte-order mark is skipped.
        stream: Leave the data in the files and read them while training. Columns are then read
            as float64 (those that begin with true or false as booleans), targets as
            integers if they begin so.
        window_rows: For a stream; see :class:`StreamDataset`.
        keep_bytes: Of a stream: decoded rows that stay in memory, in their own dtype, so that the
            next epoch need not decode them again; 0 decodes all in every epoch.

    Returns:
        An :class:`ArrayDataset`, or with ``stream=True`` a :class:`StreamDataset` whose blocks are
        the files. A text can only be read forwards, so rows are shuffled in windows, which come in
        the order of the file; Parquet files are shuffled better.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: There is no such file, or none in the folder.
        ValueError: No rows, a first line that is all numbers, rows with another
            number of fields, a column that is not there, text where numbers are wanted, a missing
            value, an unknown category. Messages count rows from 0 after the header.
        TypeError: A column of dates or times.
    """
    where = "from_csv"
    layout = Layout(where, target, columns, sample_weight, categories, missing, dtype)
    text = CsvText(where, layout, null_values, delimiter, decimal, header, encoding)
    files = files_of(where, path, ".csv")
    if stream:
        if layout.open_categories:
            raise ValueError(
                f"{where}: a stream needs the values of its categories beforehand: "
                f"categories={{{layout.open_categories[0]!r}: [value, …]}}"
            )
        kept = KeptBlocks(check_keep_bytes(where, keep_bytes))
        return CsvStream(layout, text, files, window_rows, kept)
    pa = load(where, "pyarrow", "table")
    tables = [text.read(file) for file in files]
    if len(tables) == 1:
        return in_memory(layout, tables[0], str(files[0]))
    names = layout.wanted(tables[0].schema.names, str(files[0]))
    for table, file in zip(tables[1:], files[1:], strict=True):
        layout.check_other(table.schema.names, str(file), names, str(files[0]))
    parts = [table.select(names) for table in tables]
    joined = pa.concat_tables(parts, promote_options="permissive")
    return in_memory(layout, joined, f"{files[0]} and {len(files) - 1} more")


class CsvText:
    """How text becomes tables.

    Args:
        where: Function that reads; starts the messages.
        layout: Which columns are wanted.
        null_values: Words that mean a missing value, beside the usual ones.
        delimiter: Character between fields.
        decimal: The decimal point.
        header: As for :func:`from_csv`.
        encoding: Of the text.
    """

    def __init__(
        self,
        where: str,
        layout: Layout,
        null_values: Sequence[str],
        delimiter: str,
        decimal: str,
        header: Header,
        encoding: str,
    ) -> None:
        self.arguments = (tuple(null_values), delimiter, decimal, header, encoding)
        self._where = where
        self._csv = load(where, "pyarrow.csv", "table")
        self._pa = load(where, "pyarrow", "table")
        self._layout = layout
        for name, character in (("delimiter", delimiter), ("decimal", decimal)):
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"{where}: {name} must be one character, got {character!r}")
        if isinstance(null_values, str):
            raise TypeError(f"{where}: null_values must be a list of words, got {null_values!r}")
        self._null_values = [*self._csv.ConvertOptions().null_values, *null_values]
        self._delimiter, self._decimal = delimiter, decimal
        self._encoding = encoding
        self._header, self._names = header, []
        if not isinstance(header, bool) and header != "auto":
            if isinstance(header, str) or not isinstance(header, Iterable):
                raise TypeError(
                    f"{where}: header must be True, False, 'auto' or names of columns, got "
                    f"{header!r}"
                )
            self._names = column_names(where, "header", header)

    def read(self, file: Path) -> Any:
        """A whole file as a table."""
        read, parse, convert = self._options({}, None)
        with self.errors(file):
            table = self._csv.read_csv(file, read, parse, convert)
            self._check_text(table.schema, file)
            return table

    def open(self, file: Path, types: Mapping[str, Any], columns: list[str]) -> Any:
        """A file as an iterator of record batches."""
        read, parse, convert = self._options(types, columns)
        with self.errors(file):
            return self._csv.open_csv(file, read, parse, convert)

    def first_schema(self, file: Path) -> Any:
        """The columns and their types, as far as the beginning of a file shows them."""
        read, parse, convert = self._options({}, None)
        with self.errors(file), self._csv.open_csv(file, read, parse, convert) as reader:
            return self._check_text(reader.schema, file)

    def _options(self, types: Mapping[str, Any], columns: list[str] | None) -> tuple[Any, Any, Any]:
        read = self._csv.ReadOptions(
            use_threads=columns is None,
            block_size=_BLOCK_BYTES,
            encoding=self._encoding,
            column_names=self._names or None,
            autogenerate_column_names=self._header is False,
        )
        parse = self._csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True)
        text = {name: self._pa.string() for name in self._layout.categories}
        convert = self._csv.ConvertOptions(
            column_types={**types, **text},
            null_values=self._null_values,
            strings_can_be_null=True,
            include_columns=columns,
            decimal_point=self._decimal,
        )
        return read, parse, convert

    @contextmanager
    def errors(self, file: Path) -> Iterator[None]:
        """Errors of the parser in the user's terms."""
        try:
            yield
        except self._pa.ArrowInvalid as error:
            raise ValueError(f"{self._where}: {file}{self._explain(file, str(error))}") from error
        except (UnicodeDecodeError, LookupError) as error:
            if isinstance(error, KeyError):
                raise
            raise ValueError(f"{self._where}: {file}{self._no_text(error)}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(
                f"{self._where}: {file}, a compressed file, is damaged: {error}"
            ) from error

    def _no_text(self, error: object) -> str:
        return (
            f" cannot be read with encoding={self._encoding!r}: {error}; give encoding=…, such as "
            "'latin-1' or 'utf-16'"
        )

    def _explain(self, file: Path, message: str) -> str:
        if "Empty CSV" in message:
            return " is empty"
        try:
            with self._pa.input_stream(str(file)) as stream:
                codecs.getincrementaldecoder(self._encoding)().decode(stream.read(_BLOCK_BYTES))
        except UnicodeDecodeError as error:
            return self._no_text(error)
        if "Expected" in message and "columns" in message:
            return self._bad_line(file) or f": {message}"
        value = re.search(r"invalid value '(.*)'", message, re.DOTALL)
        column = re.search(r"In CSV column #(\d+)", message)
        if value and column:
            return self._bad_value(file, int(column[1]), value[1])
        return f": {message}"

    def _bad_line(self, file: Path) -> str:
        """Which row has too many or too few fields; a second look, on one thread, counts them."""
        found: list[Any] = []

        def notice(row: Any) -> str:
            found.append(row)
            return "error"

        read, parse, convert = self._options({}, None)
        read.use_threads = False
        parse.invalid_row_handler = notice
        with suppress(self._pa.ArrowInvalid):
            self._csv.read_csv(file, read, parse, convert)
        if not found:
            return ""
        row = found[0]
        header = 1 if self._header in (True, "auto") else 0
        return (
            f", row {row.number - 1 - header} has {row.actual_columns} fields, the others have "
            f"{row.expected_columns}: {row.text[:80]!r}"
        )

    def _bad_value(self, file: Path, column: int, value: str) -> str:
        """In which row the value is that did not become a number."""
        names = self.first_schema(file).names
        name, row = names[column], 0
        with self._csv.open_csv(file, *self._options({name: self._pa.string()}, [name])) as reader:
            for batch in reader:
                texts = [str(text).strip() for text in batch.column(0).to_pylist()]
                if value.strip() in texts:
                    row += texts.index(value.strip())
                    break
                row += len(texts)
        return (
            f", row {row}, column {name!r}: {value!r} is not a number like those before it; "
            f"choose null_values=[{value!r}] for a missing value, "
            f"categories={{{name!r}: [value, …]}} for classes, or columns=[…] without it"
        )

    def _check_text(self, schema: Any, file: Path) -> Any:
        if self._header == "auto":
            self._check_first_line(schema.names, file)
        for name in self._layout.wanted(schema.names, str(file)):
            if self._pa.types.is_binary(schema.field(name).type):
                raise ValueError(
                    f"{self._where}: {file}, column {name!r} is no text in {self._encoding}; "
                    "give encoding=…, such as 'latin-1'"
                )
        return schema

    def _check_first_line(self, fields: Sequence[str], file: Path) -> None:
        """Numbers are no names, unless the user says so: a row must not be lost."""
        values = [f for f in map(str.strip, fields) if f not in self._null_values]
        if values and all(_is_number(value.replace(self._decimal, ".")) for value in values):
            raise ValueError(
                f"{self._where}: {file}: the first line is all numbers: {listed(fields)}; write "
                "header=False if it is the first row, header=True if these are the names of the "
                "columns"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class CsvStream(StreamDataset):
    """CSV files, parsed as they are read; see :func:`from_csv`.

    Attributes:
        feature_names: What the columns of the inputs are called, or ``None``.
        categories: Values of the columns that are read as categories.
    """

    def __init__(
        self,
        layout: Layout,
        text: CsvText,
        files: list[Path],
        window_rows: int | None,
        kept: KeptBlocks,
    ) -> None:
        pa = load(layout.where, "pyarrow", "table")
        self._kept = kept
        self._layout = layout
        self._text = text
        self._files = files
        self.window_rows = check_window_rows(layout.where, window_rows)
        self.block_rows = [None] * len(files)
        schema = text.first_schema(files[0])
        names = layout.wanted(schema.names, str(files[0]))
        self._types = {name: _lasting(pa, layout, schema.field(name)) for name in names}
        fields = [pa.field(name, kind) for name, kind in self._types.items()]
        self._reader = TableReader(layout, pa.schema(fields), str(files[0]))

    @property
    def categories(self) -> dict[str, tuple[Any, ...]]:
        return {n: tuple(v) for n, v in self._layout.categories.items() if v is not None}

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._reader.feature_names(self.head().x)

    def read(self, block: int, epoch: int) -> Iterator[Batch]:
        file, row = self._files[block], 0
        if block:
            there = self._text.first_schema(file).names
            self._layout.check_other(there, str(file), self._reader.names, str(self._files[0]))
        batches = self._text.open(file, self._types, self._reader.names)
        with self._text.errors(file), batches as reader:
            for table in reader:
                yield self._reader.batch(table, str(file), row)
                row += len(table)

    def fingerprint(self) -> str:
        return stamp(self._files, self._layout.arguments, self._text.arguments)

    def block_name(self, block: int) -> str:
        return str(self._files[block])


def _lasting(pa: Any, layout: Layout, field: Any) -> Any:
    """A type that the rest of the file fits too: the beginning may hold whole numbers only."""
    if field.name in layout.categories:
        return pa.string()
    kind = field.type
    if pa.types.is_integer(kind) and field.name not in layout.targets:
        return pa.float64()
    return pa.float64() if pa.types.is_null(kind) else kind
