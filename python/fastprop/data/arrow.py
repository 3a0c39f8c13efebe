"""Arrow tables, and frames of other libraries that give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.extras import load
from fastprop.data.table_arguments import Categories
from fastprop.data.tables import Layout, in_memory
from fastprop.registry import type_name


def from_arrow(
    table: Any,
    target: str | Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    sample_weight: str | None = None,
    categories: Categories = (),
    missing: Any = "error",
    dtype: DTypeLike | None = None,
) -> ArrayDataset:
    """Inputs and targets from columns of an Arrow table.

    Args:
        table: A ``pyarrow.Table``, record batch or reader, or anything with ``__arrow_c_stream__``
            (frames of polars and pandas, results of DuckDB).
        target: Name of the column of targets, or names of several, or ``None``.
        columns: Names of the inputs in their order; ``None`` takes all other columns.
        sample_weight: Name of the column of weights.
        categories: As for :func:`from_parquet`.
        missing: As for :func:`from_parquet`.
        dtype: Of the inputs; ``None`` for the smallest that holds all columns exactly.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: A column that is not there, a missing value, an unknown category, no rows.
        TypeError: No table; a column that cannot become numbers.
    """
    where = "from_arrow"
    layout = Layout(where, target, columns, sample_weight, categories, missing, dtype)
    return in_memory(layout, _table(where, table), "the table")


def _table(where: str, table: Any) -> Any:
    pa = load(where, "pyarrow", "table")
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    elif isinstance(table, pa.RecordBatchReader):
        table = table.read_all()
    elif not isinstance(table, pa.Table) and hasattr(table, "__arrow_c_stream__"):
        table = pa.RecordBatchReader.from_stream(table).read_all()
    if isinstance(table, pa.Table):
        return _without_views(pa, table)
    raise TypeError(
        f"{where}: expects a pyarrow.Table or something with __arrow_c_stream__, got "
        f"{type_name(table)}"
    )


def _without_views(pa: Any, table: Any) -> Any:
    """Text and bytes in the layout that pyarrow computes with; polars gives views."""
    plain = {"string_view": pa.string(), "binary_view": pa.binary()}
    fields = [f.with_type(plain.get(str(f.type), f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))
