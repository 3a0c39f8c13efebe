"""Decoded rows that stay in memory from epoch to epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data_sets import ROWS, same, trained
from tests.training import regression, weights_of

import fastprop as fp
from fastprop import data
from fastprop.data.csv_files import CsvStream
from fastprop.data.parquet import ParquetStream
from fastprop.data.stream import StreamDataset

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
csv = pytest.importorskip("pyarrow.csv")


def written(folder: Path, kind: str) -> Path:
    x, y = regression(ROWS)
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y.reshape(-1)})
    if kind == "parquet":
        pq.write_table(table, folder / "a.parquet", row_group_size=100)
        return folder / "a.parquet"
    for i in range(11):
        csv.write_csv(table.slice(100 * i, 100), folder / f"{i:02}.csv")
    return folder


def opened(folder: Path, kind: str, **options) -> StreamDataset:
    read = data.from_parquet if kind == "parquet" else data.from_csv
    options = {"window_rows": 96, "stream": True, **options}
    return read(written(folder, kind), "y", **options)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    read: list[int] = []
    for kind in (ParquetStream, CsvStream):

        def counted(self, block: int, epoch: int, before=kind.read):
            read.append(block)
            yield from before(self, block, epoch)

        monkeypatch.setattr(kind, "read", counted)
    return read


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("room", [0, 1, 1200, 5000, 1 << 28])
def test_kept_or_decoded_anew_the_bits_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, room: int
) -> None:
    wanted = trained(opened(tmp_path, kind, keep_bytes=0))
    read = count_reads(monkeypatch)
    stream = opened(tmp_path, kind, keep_bytes=room)
    same(trained(stream), wanted)
    # A row of the Parquet file takes 16 bytes, one of the CSV files, whose numbers are float64, 32.
    row = 16 if kind == "parquet" else 32
    blocks = [100 * row] * 10 + [3 * row]
    fits = sum(blocks) <= room
    kept = 11 if fits else sum(size <= room for size in blocks) if room < 100 * row else None
    # The look at the first rows keeps them where it is known that they are all of their block.
    in_epochs = len(read) - (0 if kind == "parquet" and blocks[0] <= room else 1)
    if kept is not None:
        assert in_epochs == 11 + 2 * (11 - kept)
    else:
        assert 11 < in_epochs < 33
    assert stream._kept.bytes <= room


def test_what_is_kept_is_shared_by_parts_and_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = opened(tmp_path, "parquet")
    list(stream.batches(32))
    read = count_reads(monkeypatch)
    train, validation = data.split(stream, [0.8, 0.2])
    mapped = stream.map(lambda x, y: (2 * x, y))
    assert sum(len(b.x) for s in (train, validation, mapped) for b in s.batches(32)) == 2 * ROWS
    assert not read


def test_a_reader_that_leaves_early_keeps_no_half(tmp_path: Path) -> None:
    stream = opened(tmp_path, "parquet")
    pieces = stream.read_from(0, 1, 0)
    next(pieces)
    pieces.close()
    assert stream._kept.bytes == 0
    whole = np.concatenate([b.y for b in stream.batches(32)])
    np.testing.assert_array_equal(whole, regression(ROWS)[1].reshape(-1))


@pytest.mark.parametrize("step", [2, 33, 40])
def test_a_resumed_fit_has_other_blocks_in_memory_and_the_same_bits(
    tmp_path: Path, step: int
) -> None:
    wanted = trained(opened(tmp_path, "parquet"))
    path = tmp_path / "fit.safetensors"

    class FailAt(fp.Callback):
        def on_steps_end(self, trainer, first_step, losses) -> None:
            if first_step + len(losses) >= step:
                raise RuntimeError("the lights went out")

    saving = fp.train.ModelCheckpoint(path, every_steps=1)
    with pytest.raises(RuntimeError, match="the lights went out"):
        trained(opened(tmp_path, "parquet", keep_bytes=5000), callbacks=[saving, FailAt()])
    resumed = fp.Trainer.resume(path)
    resumed.fit(opened(tmp_path, "parquet"), epochs=3)
    assert weights_of(resumed.model) == wanted[0]


def test_room_that_is_no_number_of_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from_parquet: keep_bytes must be at least 0, got -1"):
        opened(tmp_path, "parquet", keep_bytes=-1)
    for wrong in (True, 1.5, "all"):
        with pytest.raises(TypeError, match="from_csv: keep_bytes must be an integer"):
            opened(tmp_path, "csv", keep_bytes=wrong)
