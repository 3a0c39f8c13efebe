"""The file format: others read what we write, and damaged or hostile files are refused at once."""

from __future__ import annotations

import io
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastprop as fp
from fastprop.saving import format as safetensors
from fastprop.saving.errors import SavedFileError

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {f"a.{d}": (rng.random((3, 2)) * 100).astype(d) for d in DTYPES}
    arrays["scalar"] = np.array(2.5)
    arrays["empty"] = np.zeros((0, 7), np.float32)
    arrays["sliced"] = np.arange(24.0).reshape(4, 6)[::2, 1::2]
    arrays["big endian"] = np.arange(3, dtype=">i4")
    arrays["ünïcödé"] = np.array([np.nan, -0.0, np.inf, 5e-324])
    return arrays


def written(arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    safetensors.write(stream, arrays, metadata or {})
    return stream.getvalue()


def file_of(path: Path, contents: bytes) -> Path:
    path.write_bytes(contents)
    return path


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)


def test_there_and_back(tmp_path: Path) -> None:
    arrays = some_arrays()
    path = file_of(tmp_path / "x", written(arrays, {"about": 'tests "quoted" \n'}))
    found, metadata = safetensors.read(path)
    assert_equal(found, arrays)
    assert metadata == {"about": 'tests "quoted" \n'}
    assert found["a.f4"].flags.writeable


def test_the_safetensors_package_reads_it(tmp_path: Path) -> None:
    other = pytest.importorskip("safetensors.numpy", reason="the format's own package")
    arrays = some_arrays()
    path = file_of(tmp_path / "x", written(arrays))
    found = other.load_file(path)
    assert_equal(found, arrays)


def test_what_the_safetensors_package_writes(tmp_path: Path) -> None:
    other = pytest.importorskip("safetensors.numpy", reason="the format's own package")
    arrays = {k: np.ascontiguousarray(a) for k, a in some_arrays().items() if k != "big endian"}
    other.save_file(arrays, tmp_path / "x", metadata={"format": "np"})
    found, metadata = safetensors.read(tmp_path / "x")
    assert_equal(found, arrays)
    assert metadata == {"format": "np"}


def test_data_are_aligned() -> None:
    contents = written(some_arrays())
    length = int.from_bytes(contents[:8], "little")
    assert length % 8 == 0
    table = json.loads(contents[8 : 8 + length])
    sizes = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2}
    for name, entry in table.items():
        if name != "__metadata__":
            assert entry["data_offsets"][0] % sizes.get(entry["dtype"], 1) == 0


def test_dtypes_that_it_cannot_hold() -> None:
    for array in (np.zeros(2, complex), np.array(["text"]), np.array([None])):
        with pytest.raises(TypeError, match=r"'x' has dtype .* which it cannot hold"):
            written({"x": array})


# -- damage ----------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    contents = written({"w": np.arange(6.0), "b": np.zeros(3, np.float32)}, {"fastprop": "0"})
    for place in range(len(contents)):
        for bit in (0, 4, 7):
            damaged = bytearray(contents)
            damaged[place] ^= 1 << bit
            with pytest.raises(SavedFileError):
                safetensors.read(file_of(tmp_path / "x", bytes(damaged)))


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    contents = written({"w": np.arange(6.0), "b": np.zeros(3, np.float32)})
    for length in range(len(contents)):
        with pytest.raises(SavedFileError):
            safetensors.read(file_of(tmp_path / "x", contents[:length]))
    with pytest.raises(SavedFileError, match="damaged or cut off, "):
        safetensors.read(file_of(tmp_path / "x", contents + b"x"))


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch) -> None:
    path = file_of(tmp_path / "x", written({"w": np.arange(600.0)}))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])

    class Stat:
        st_size = size

    monkeypatch.setattr(safetensors.os, "fstat", lambda handle: Stat)
    with pytest.raises(SavedFileError, match="cut off while it was read"):
        safetensors.read(path)


def header_only(table: Any, data: bytes = b"") -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HUGE = 1 << 62
HOSTILE = {
    "empty": b"",
    "few bytes": b"\1\0\0",
    "no header": (0).to_bytes(8, "little") + b"{}",
    "header beyond the file": (1000).to_bytes(8, "little") + b"{}",
    "header of exabytes": b"\xff" * 8 + b"{}",
    "header of 99 MB": (99_000_000).to_bytes(8, "little") + b"{}",
    "not JSON": header_only(b"{nothing"),
    "not UTF-8": header_only(b'{"\xff\xfe": 1}'),
    "a list": header_only([1, 2]),
    "a number": header_only(b"12345678"),
    "deep": header_only(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "deep objects": header_only(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "NaN": header_only(b'{"a": NaN}'),
    "long number": header_only(b'{"a": ' + b"9" * 10_000 + b"}"),
    "twice": header_only(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
    ),
    "metadata twice": header_only(b'{"__metadata__":{},"__metadata__":{}}'),
    "metadata no table": header_only({"__metadata__": [1]}),
    "metadata not strings": header_only({"__metadata__": {"a": 1}}),
    "entry no table": header_only({"a": 3}),
    "entry without shape": header_only({"a": {"dtype": "F32", "data_offsets": [0, 0]}}),
    "entry with more": header_only({"a": {**entry(shape=[0], offsets=[0, 0]), "x": 1}}),
    "dtype": header_only({"a": entry("F31")}, b"12345678"),
    "dtype no string": header_only({"a": entry(["F32"])}, b"12345678"),
    "dtype BF16": header_only({"a": entry("BF16", [4])}, b"12345678"),
    "shape negative": header_only({"a": entry(shape=[-2])}, b"12345678"),
    "shape twice negative": header_only({"a": entry(shape=[-1, -2])}, b"12345678"),
    "shape float": header_only({"a": entry(shape=[2.0])}, b"12345678"),
    "shape true": header_only({"a": entry(shape=[True, 2])}, b"12345678"),
    "shape no list": header_only({"a": entry(shape=2)}, b"12345678"),
    "shape absurd": header_only({"a": entry(shape=[HUGE, 4])}, b"12345678"),
    "shape that overflows to 2": header_only({"a": entry(shape=[1 << 63, 1 << 2])}, b"12345678"),
    "shape empty and absurd": header_only({"a": entry(shape=[0, HUGE, HUGE], offsets=[0, 0])}),
    "shape of 1000 axes": header_only({"a": entry(shape=[1] * 999 + [2])}, b"12345678"),
    "offsets negative": header_only({"a": entry(offsets=[-8, 0])}, b"12345678"),
    "offsets backwards": header_only({"a": entry(shape=[2], offsets=[8, 0])}, b"12345678"),
    "offsets beyond": header_only({"a": entry(offsets=[8, 16])}, b"12345678"),
    "offsets of three": header_only({"a": entry(offsets=[0, 8, 8])}, b"12345678"),
    "offsets absurd": header_only({"a": entry(shape=[HUGE], offsets=[0, 4 * HUGE])}, b"1234"),
    "overlap": header_only({"a": entry(), "b": entry(offsets=[4, 12])}, b"123456789012"),
    "same place": header_only({"a": entry(), "b": entry()}, b"12345678"),
    "gap": header_only({"a": entry(), "b": entry(offsets=[12, 20])}, b"x" * 20),
    "data left over": header_only({"a": entry()}, b"x" * 12),
    "data missing": header_only({"a": entry()}, b"x" * 4),
    "checksum elsewhere": header_only({"a": entry(), "__metadata__": {"checksum": "0"}}, b"x" * 8),
    "checksum missing": header_only({"a": entry(), "__metadata__": {"fastprop": "1"}}, b"x" * 8),
    "checksum wrong": header_only(
        b'{"__metadata__":{"checksum":"00000000"},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    """An error of our own, that names the file, with no more memory than the file's size needs."""
    contents = HOSTILE[name]
    path = file_of(tmp_path / "hostile.safetensors", contents)
    tracemalloc.start()
    try:
        with pytest.raises(SavedFileError, match=r"hostile\.safetensors: "):
            safetensors.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 + 100 * len(contents)
    with pytest.raises(SavedFileError):
        fp.load(path)
    with pytest.raises(SavedFileError):
        fp.Trainer.resume(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "F64", "BOOL", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 5) | st.sampled_from([HUGE, 1 << 32])) | JSON,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON,
    }
)
TABLES = st.dictionaries(st.text(max_size=3), ENTRIES | JSON, max_size=4)


@settings(max_examples=120, deadline=None)
@given(table=TABLES, data=st.binary(max_size=40), metadata=st.none() | JSON)
def test_fuzzed_headers(table, data, metadata, tmp_path_factory) -> None:
    """Either arrays that lie in the file, or our error."""
    if metadata is not None:
        table["__metadata__"] = metadata
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    file_of(path, header_only(table, data))
    try:
        found, _ = safetensors.read(path)
    except SavedFileError:
        return
    assert sum(array.nbytes for array in found.values()) == len(data)


@settings(max_examples=120, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_fuzzed_bytes_with_a_checksum_that_fits(changes, tmp_path_factory) -> None:
    """Somebody who damages a file on purpose can compute the checksum as well."""
    fp.seed(0)
    model = fp.nn.Sequential(fp.nn.Dense(3, 4, "relu"), fp.nn.Dense(4, 1))
    path = tmp_path_factory.getbasetemp() / "forged"
    fp.save(model, path)
    contents = bytearray(path.read_bytes())
    for place, value in changes:
        contents[8 + place % (len(contents) - 8)] = value
    length = int.from_bytes(contents[:8], "little")
    start = contents.find(b'{"__metadata__":{"checksum":"', 8, 8 + length)
    if start == 8:
        digits = slice(8 + 29, 8 + 37)
        contents[digits] = b"00000000"
        contents[digits] = f"{zlib.crc32(contents[8:]):08x}".encode()
    file_of(path, bytes(contents))
    try:
        found = fp.load(path)
    except SavedFileError:
        return
    assert found.count_parameters() < 1000
