"""Tables that cannot be read as they are: other encodings, damaged files, files that differ."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import fastprop as fp
from fastprop import data, nn

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    ["größe,y\n1,2\n".encode("latin-1"), "a,y\n1,2\n".encode("utf-16"), bytes(range(255, 10, -1))],
)
@pytest.mark.parametrize("stream", [False, True])
def test_other_encodings(content: bytes, stream: bool, tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", content)
    with pytest.raises(ValueError, match=r"from_csv: .*t\.csv cannot be read with encoding='utf-8"):
        data.from_csv(path, "y", stream=stream)
    if content[:2] == b"\xff\xfe" and content[3:4] == b"\0":
        assert data.from_csv(path, "y", encoding="utf-16").y.tolist() == [2]


@pytest.mark.parametrize("content", [gzip.compress(b"a,y\n" + b"1,2\n" * 999)[:40], b"a,y\n1,2\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_damaged_compression(content: bytes, stream: bool, tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv.gz", content)
    with pytest.raises(ValueError, match=r"from_csv: .*t\.csv\.gz, a compressed file, is damaged"):
        data.from_csv(path, "y", stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_files_without_a_column_of_the_first(stream: bool, tmp_path: Path) -> None:
    def rows(reader) -> list[list[float]]:
        read = reader(tmp_path / reader.__name__, "y", stream=stream)
        return [b.x.ravel().tolist() for b in read.batches(1)]

    for reader in (data.from_csv, data.from_parquet):
        folder, ending = tmp_path / reader.__name__, reader.__name__.removeprefix("from_")
        folder.mkdir()

        def put(name: str, table: dict[str, list[int]], folder=folder, ending=ending) -> None:
            if ending == "csv":
                row = ",".join(str(values[0]) for values in table.values())
                file(folder, f"{name}.csv", f"{','.join(table)}\n{row}\n")
            else:
                pq.write_table(pa.table(table), folder / f"{name}.parquet")

        put("1", {"a": [1], "c": [2], "y": [3]})
        put("2", {"c": [4], "y": [5]})
        with pytest.raises(ValueError, match=r"2\.\w+ has no column 'a', which .*1\.\w+ has\. The"):
            rows(reader)
        put("2", {"y": [5], "more": [7], "c": [4], "a": [6]})  # in another order, and one more
        assert sorted(rows(reader)) == [[1, 2], [6, 4]]


def test_what_stands_for_a_missing_category_is_one(tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", "a,y\nred,yes\n,no\n")
    with pytest.raises(ValueError, match=r"missing=\{'a': value\} puts a category there"):
        data.from_csv(path, "y", categories=["a", "y"])
    made = data.from_csv(path, "y", categories=["a", "y"], missing={"a": "none"})
    assert made.categories["a"] == ("none", "red")
    np.testing.assert_array_equal(made.x, [[0, 1], [1, 0]])


def test_samplers_of_other_arguments() -> None:
    trainer = fp.Trainer(nn.Dense(2, 1), "mse", "sgd")
    with pytest.raises(TypeError, match=r"sampler must take \(epoch, rows, seed\), but takes \(ep"):
        trainer.fit(np.ones((4, 2)), np.ones(4), sampler=lambda epoch, rows: rows)
