"""Columns of Arrow tables side by side as the rows of a matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastprop import _core, data

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def numbers(rows: int, columns: int, dtype: str) -> np.ndarray:
    bits = np.random.default_rng(rows * columns).integers(0, 256, (rows, columns * 8), np.uint8)
    if np.dtype(dtype).kind == "f":  # no NaN, which would be a missing value
        return (bits[:, :columns] / 3 - 40).astype(dtype)
    return bits.view(dtype)[:, :columns]


def columns_of(x: np.ndarray) -> dict:
    return {f"c{i}": np.ascontiguousarray(x[:, i]) for i in range(x.shape[1])}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (63, 8), (64, 7), (65, 17), (200, 40)])
def test_any_shape_and_dtype(dtype: str, shape: tuple[int, int]) -> None:
    x = numbers(*shape, dtype)
    found = data.from_arrow(pa.table(columns_of(x)))
    assert found.x.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.x, x)


@pytest.mark.parametrize(("begin", "length"), [(0, 10), (3, 1), (5, 90), (99, 1)])
def test_a_part_of_a_batch(begin: int, length: int) -> None:
    x = numbers(100, 11, "i2")
    part = pa.record_batch(columns_of(x)).slice(begin, length)
    made = np.zeros((length, 3), np.int16)
    assert _core.interleave_columns(part.__arrow_c_array__(), [7, 0, 10], made)
    np.testing.assert_array_equal(made, x[begin : begin + length, [7, 0, 10]])


def test_columns_in_chunks_of_their_own() -> None:
    x = numbers(90, 2, "f4")
    chunks = [pa.chunked_array([x[:40, 0], x[40:, 0]]), pa.chunked_array([x[:7, 1], x[7:, 1]])]
    np.testing.assert_array_equal(data.from_arrow(pa.table(chunks, ["a", "b"])).x, x)


def test_nulls_and_other_types_are_left_alone() -> None:
    made = np.full((3, 2), 7, np.int64)
    whole, holed = pa.array([1, 2, 3]), pa.array([1, None, 3])
    for other in (holed, pa.array([1, 2, 3], pa.int32()), pa.array(["a", "b", "c"])):
        batch = pa.record_batch([whole, other], ["a", "b"])
        assert not _core.interleave_columns(batch.__arrow_c_array__(), [0, 1], made)
        assert (made == 7).all()
    batch = pa.record_batch([whole.slice(2), holed.slice(2)], ["a", "b"])
    assert _core.interleave_columns(batch.__arrow_c_array__(), [0, 1], made[:1])
    np.testing.assert_array_equal(made[0], [3, 3])


def test_what_does_not_fit_is_refused() -> None:
    given = pa.record_batch({"a": np.arange(4)}).__arrow_c_array__
    for made in (np.zeros((3, 1), np.int64), np.zeros((4, 2), np.int64), np.zeros(4, np.int64)):
        with pytest.raises(ValueError, match="expects a contiguous array of 4 rows and 1 columns"):
            _core.interleave_columns(given(), [0], made)
    made = np.zeros((4, 1), np.int64)
    with pytest.raises(ValueError, match="expects a contiguous array"):
        _core.interleave_columns(given(), [0], np.zeros((4, 2), np.int64)[:, :1])
    for column in (-1, 1):
        with pytest.raises(ValueError, match=f"column {column} of 1"):
            _core.interleave_columns(given(), [column], made)
    schema, _ = given()
    with pytest.raises(ValueError, match="PyCapsule"):
        _core.interleave_columns((schema, schema), [0], made)
    made.flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only|not writeable"):
        _core.interleave_columns(given(), [0], made)


@pytest.mark.parametrize("group", [50, 1000])
def test_nulls_and_mixed_dtypes_in_files(tmp_path: Path, group: int) -> None:
    x = numbers(120, 3, "i4")
    mixed = {**columns_of(x), "half": x[:, 0] / 2}
    pq.write_table(pa.table(mixed), tmp_path / "mixed.parquet", row_group_size=group)
    found = data.from_parquet(tmp_path / "mixed.parquet").x
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.column_stack([x, x[:, 0] / 2]))
    holed = {**columns_of(x), "late": pa.array([*range(119), None])}
    pq.write_table(pa.table(holed), tmp_path / "holed.parquet", row_group_size=group)
    with pytest.raises(ValueError, match="row 119, column 'late': the value is missing"):
        data.from_parquet(tmp_path / "holed.parquet")


def test_large_row_groups_are_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = numbers(3000, 4, "u1")
    pq.write_table(pa.table(columns_of(x)), tmp_path / "t.parquet", row_group_size=1000)
    whole = data.from_parquet(tmp_path / "t.parquet", stream=True)
    assert [len(p.x) for p in whole.read(1, 1)] == [1000]
    monkeypatch.setattr("fastprop.data.parquet._PIECE_NUMBERS", 4 * 300)
    pieces = data.from_parquet(tmp_path / "t.parquet", stream=True)
    assert [len(p.x) for p in pieces.read(1, 1)] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate([p.x for p in pieces.read(1, 1)]), x[1000:2000])
