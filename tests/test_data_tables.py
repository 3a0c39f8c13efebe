"""Parquet and Arrow: round trips, what columns may hold, and what is wrong with them."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pytest

import fastprop as fp
from fastprop import data, nn

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def parquet(folder: Path, columns: dict, name: str = "t.parquet", **options) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path, **options)
    return path


def everything(dataset) -> data.Batch:
    """All rows of a stream, in order."""
    pieces = [p for b in range(len(dataset.block_rows)) for p in dataset.read(b, 1)]
    columns = zip(*(p.arrays for p in pieces), strict=True)
    return pieces[0].with_arrays([np.concatenate(arrays) for arrays in columns])


# -- Parquet and Arrow -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "bool"]
)
def test_parquet_dtypes(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 1, 1, 0, 1]).astype(dtype)
    path = parquet(tmp_path, {"a": values, "b": values[::-1], "y": np.arange(5)})
    dataset = data.from_parquet(path, "y")
    assert dataset.x.dtype == ("u1" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(dataset.x, np.stack([values, values[::-1]], axis=1))


def test_parquet_extreme_integers(tmp_path: Path) -> None:
    values = np.array([0, 2**64 - 1], "u8")
    found = data.from_parquet(parquet(tmp_path, {"a": values, "y": [0, 1]}), "y")
    np.testing.assert_array_equal(found.x[:, 0], values)
    values = np.array([-(2**63), 2**63 - 1])
    found = data.from_parquet(parquet(tmp_path, {"a": values, "y": [0, 1]}), "y")
    np.testing.assert_array_equal(found.x[:, 0], values)


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 1001])
@pytest.mark.parametrize("group", [1, 100, 5000])
def test_parquet_row_groups(tmp_path: Path, rows: int, group: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": np.arange(rows)}
    path = parquet(tmp_path, columns, row_group_size=group)
    for found in (
        data.from_parquet(path, "y").batch,
        everything(data.from_parquet(path, "y", stream=True)),
    ):
        assert found.x.dtype == np.float32
        np.testing.assert_array_equal(found.x, x)
        np.testing.assert_array_equal(found.y, np.arange(rows))
    stream = data.from_parquet(path, "y", stream=True)
    assert stream.rows == rows
    assert len(stream.block_rows) == -(-rows // group)


def test_parquet_columns_of_arrays(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    fixed = pa.FixedSizeListArray.from_arrays(x.ravel(), 6)
    lists = pa.array(x.tolist(), pa.list_(pa.float32()))
    raw = [row.astype(np.uint8).tobytes() for row in x]
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(x.reshape(4, 2, 3))
    y = np.arange(4)
    for column, wanted in [
        (fixed, x),
        (lists, x),
        (pa.array(raw), x),
        (pa.array(raw, pa.binary(6)), x),
        (pa.array(raw, pa.large_binary()), x),
        (tensor, x.reshape(4, 2, 3)),
    ]:
        found = data.from_parquet(parquet(tmp_path, {"x": column, "y": y}), "y")
        np.testing.assert_array_equal(found.x, wanted)
        assert found.x.shape == wanted.shape
        streamed = data.from_parquet(tmp_path / "t.parquet", "y", stream=True)
        np.testing.assert_array_equal(everything(streamed).x, wanted)
        sliced = data.from_arrow(pa.table({"x": column, "y": y}).slice(1, 2), "y")
        np.testing.assert_array_equal(sliced.x, wanted[1:3])
    beside = data.from_parquet(parquet(tmp_path, {"x": fixed, "z": y, "y": y}), "y")
    np.testing.assert_array_equal(beside.x, np.column_stack([x, y]))
    ragged = pa.array([[1.0, 2.0], [3.0]])
    with pytest.raises(ValueError, match=r"row 1, column 'x' has 1 values, row 0 has 2"):
        data.from_arrow(pa.table({"x": ragged, "y": [0, 1]}), "y")
    with pytest.raises(ValueError, match=r"row 1, column 'x' has 1 bytes, row 0 has 2"):
        data.from_arrow(pa.table({"x": [b"ab", b"c"], "y": [0, 1]}), "y")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(3)])
def test_bytes_with_missing_values(kind) -> None:
    """Rows that are left out may leave bytes behind in the column's memory."""
    column = pa.array([None, b"abc", None, b"def", b"ghi"], kind)
    table = pa.table({"x": column, "y": np.arange(5)})
    for part, wanted in [(table, b"abcdefghi"), (table.slice(2), b"defghi")]:
        kept = data.from_arrow(part, "y", missing="drop")
        assert kept.x.tobytes() == wanted
    with pytest.raises(ValueError, match="row 0, column 'x': the value is missing"):
        data.from_arrow(table, "y")


def test_lists_with_missing_values() -> None:
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 2)):
        column = pa.array([[1.0, 2.0], [3.0, None], None, [float("nan"), 1.0], [5.0, 6.0]], kind)
        table = pa.table({"x": column, "y": np.arange(5)})
        with pytest.raises(ValueError, match="row 1, column 'x': the value is missing"):
            data.from_arrow(table, "y")
        kept = data.from_arrow(table, "y", missing="drop")
        np.testing.assert_array_equal(kept.x, [[1, 2], [5, 6]])
        np.testing.assert_array_equal(kept.y, [0, 4])


def test_dictionary_columns() -> None:
    words = pa.array(["b", "a", "b"]).dictionary_encode()
    numbers = pa.array([10, 20, 10]).dictionary_encode()
    table = pa.table({"n": numbers, "w": words})
    found = data.from_arrow(table, "w", categories=["w"])
    np.testing.assert_array_equal(found.x, [[10], [20], [10]])
    np.testing.assert_array_equal(found.y, [1, 0, 1])
    with pytest.raises(ValueError, match=r"column 'w': 'b' is text.*categories=\['w'\]"):
        data.from_arrow(table, "n")
    by_number = data.from_arrow(table, "w", categories={"n": [20, 10], "w": ["a", "b"]})
    np.testing.assert_array_equal(by_number.x, [[0, 1], [1, 0], [0, 1]])
    with pytest.raises(TypeError, match="column 'n' is of type int64, its categories are"):
        data.from_arrow(table, "w", categories={"n": ["x"], "w": ["a", "b"]})


def test_other_types() -> None:
    money = pa.array([decimal.Decimal("1.25"), decimal.Decimal("2.50")])
    found = data.from_arrow(pa.table({"m": money, "y": [0, 1]}), "y")
    np.testing.assert_array_equal(found.x, [[1.25], [2.5]])
    stamp = pa.array([datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)])
    for column, message in [
        (stamp, "timestamp.*turn it into numbers"),
        (stamp.cast(pa.date32()), "date32.*turn it into numbers"),
        (pa.array([1, 2], pa.duration("s")), "duration"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct.*leave it out"),
    ]:
        with pytest.raises(TypeError, match=message):
            data.from_arrow(pa.table({"t": column, "y": [0, 1]}), "y")


def test_nulls_and_nan_in_parquet(tmp_path: Path) -> None:
    columns = {"a": [1.0, None, float("nan"), 4.0], "n": [1, 2, None, 4], "y": [0, 1, 0, 1]}
    path = parquet(tmp_path, columns, row_group_size=2)
    for stream in (False, True):

        def read(missing, stream=stream):
            made = data.from_parquet(path, "y", missing=missing, stream=stream)
            return everything(made) if stream else made.batch

        with pytest.raises(ValueError, match=r"t\.parquet, row 1, column 'a'"):
            read("error")
        with pytest.raises(ValueError, match="row 2, column 'n'"):
            read({"a": 0})
        np.testing.assert_array_equal(read("drop").x, [[1, 1], [4, 4]])
        np.testing.assert_array_equal(read(0).x, [[1, 1], [0, 2], [0, 0], [4, 4]])
        np.testing.assert_array_equal(read(0.5).x, [[1, 1], [0.5, 2], [0.5, 0.5], [4, 4]])
    assert data.from_parquet(path, "y", missing="drop", stream=True).rows is None


def test_a_column_without_any_value() -> None:
    table = pa.table({"a": pa.nulls(2), "b": [1, 2], "y": [0, 1]})
    with pytest.raises(ValueError, match="row 0, column 'a': the value is missing"):
        data.from_arrow(table, "y")
    np.testing.assert_array_equal(data.from_arrow(table, "y", missing=0).x, [[0, 1], [0, 2]])


def test_weights(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"a": [1.0, 2.0], "y": [0, 1], "w": [0.5, 2.0]})
    found = data.from_parquet(path, "y", sample_weight="w")
    np.testing.assert_array_equal(found.sample_weight, [0.5, 2.0])
    assert found.feature_names == ("a",)


def test_several_parquet_files(tmp_path: Path) -> None:
    parquet(tmp_path, {"a": [1, 2], "y": [0, 1]}, "1.parquet")
    parquet(tmp_path, {"y": [0, 1], "extra": [9, 9], "a": [3, 4]}, "2.parquet")
    found = data.from_parquet(tmp_path, "y", columns=["a"])
    np.testing.assert_array_equal(found.x, [[1], [2], [3], [4]])
    parquet(tmp_path, {"a": [1.0, 2.0], "y": [0, 1]}, "3.parquet")
    with pytest.raises(ValueError, match=r"'a' is of type double in .*3\.parquet, of type int64"):
        data.from_parquet(tmp_path, "y", columns=["a"])
    parquet(tmp_path, {"b": [1.0, 2.0], "y": [0, 1]}, "3.parquet")
    with pytest.raises(ValueError, match=r"3\.parquet has no column 'a'"):
        data.from_parquet(tmp_path, "y", columns=["a"])


def test_parquet_that_is_wrong(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"a": [1, 2], "y": [0, 1]})
    with pytest.raises(ValueError, match=r"no column 'label'\. There are: 'a', 'y'"):
        data.from_parquet(path, "label")
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"hello, world", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no Parquet file, or a damaged one"):
            data.from_parquet(path, "y")
    empty = parquet(tmp_path, {"a": pa.array([], "int64"), "y": pa.array([], "int64")})
    for stream in (False, True):
        with pytest.raises(ValueError, match="no rows"):
            data.from_parquet(empty, "y", stream=stream)


def test_arrow_from_other_libraries() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1.5, 2.5], "kind": ["x", "y"]})
    found = data.from_arrow(frame, "kind", categories=["kind"])
    np.testing.assert_array_equal(found.x, [[1.5], [2.5]])
    np.testing.assert_array_equal(found.y, [0, 1])
    batch = pa.record_batch({"a": [1, 2], "y": [3, 4]})
    np.testing.assert_array_equal(data.from_arrow(batch, "y").y, [3, 4])
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch, batch])
    np.testing.assert_array_equal(data.from_arrow(reader, "y").y, [3, 4, 3, 4])
    with pytest.raises(TypeError, match=r"expects a pyarrow\.Table"):
        data.from_arrow([[1, 2]], "y")


def test_training_on_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = rng.uniform(size=200)
    kind = np.where(size > 0.5, "large", "small")
    path = parquet(tmp_path, {"size": size, "kind": kind})
    dataset = data.from_parquet(path, "kind", categories=["kind"])
    fp.seed(0)
    trainer = fp.Trainer(nn.Dense(1, 2), "cross_entropy", fp.optim.Adam(lr=0.1), ["accuracy"])
    history = trainer.fit(dataset, epochs=20)
    assert history["accuracy"][-1] > 0.9
    assert trainer.predict(dataset).shape == (200, 2)
