"""The safetensors format: a header in JSON, then the arrays one behind the other.

Little-endian: 8 bytes with the header's length, the header, the data. The header maps names to
dtype, shape and place; ``__metadata__`` maps strings to strings. Files of ours begin with a
checksum of everything else in them (CRC-32, IEEE 802.3).

A file is taken for what an attacker or a broken disk made of it: nothing is allocated that the
file's own size does not account for.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprop.saving.errors import SavedFileError

Arrays = dict[str, NDArray[Any]]

_METADATA = "__metadata__"
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BOOL": "|b1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
}
_NAMES = {np.dtype(text): name for name, text in _DTYPES.items()}
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit
_MOST_AXES = 32
_MOST_ELEMENTS = 1 << 60
_ALIGNMENT = 8
# Our headers begin so; the eight digits behind it are the checksum, and count as zeros in it.
_HEAD = b'{"__metadata__":{"checksum":"'
_DIGITS = slice(len(_HEAD), len(_HEAD) + 8)


class _Entry(NamedTuple):
    """One array in the file."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


# -- writing ----------------------------------------------------------------------------------


def write(
    stream: BinaryIO, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write a file.

    Args:
        stream: Where to.
        arrays: What to write; contiguous ones are written as they lie, without a copy.
        metadata: Further strings.

    Raises:
        TypeError: A dtype that the format does not have.
    """
    # Large elements first: then every array begins at a multiple of its elements' size.
    items = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    table: dict[str, Any] = {_METADATA: {"checksum": "00000000", **metadata}}
    begin = 0
    for name, array in items:
        dtype = _NAMES.get(array.dtype.newbyteorder("<"))
        if dtype is None:
            raise TypeError(f"safetensors: {name!r} has dtype {array.dtype}, which it cannot hold")
        end = begin + array.nbytes
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    header = bytearray(json.dumps(table, separators=(",", ":"), allow_nan=False).encode())
    header += b" " * (-len(header) % _ALIGNMENT)
    checksum = zlib.crc32(header)
    for part in _parts(items):
        checksum = zlib.crc32(part, checksum)
    header[_DIGITS] = f"{checksum:08x}".encode()
    stream.write(len(header).to_bytes(8, "little"))
    stream.write(header)
    for part in _parts(items):
        stream.write(part)


def _parts(items: Iterable[tuple[str, NDArray[Any]]]) -> Iterator[memoryview]:
    """The bytes of the arrays."""
    for _, array in items:
        if array.size:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            yield little.reshape(-1).view(np.uint8).data


# -- reading ----------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, str]]:
    """Read a file.

    Args:
        path: The file.

    Returns:
        The arrays by name, and the metadata (without the checksum).

    Raises:
        SavedFileError: It is no safetensors file, or damaged.
        OSError: It cannot be read.
    """
    name = os.fspath(path)
    with open(name, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        header = _header_bytes(name, stream, size)
        metadata, entries = _parse(name, header, size - 8 - len(header))
        arrays, checksum = _data(name, stream, header, entries)
    _compare(name, header, metadata, checksum)
    metadata.pop("checksum", None)
    return arrays, metadata


def _header_bytes(name: str, stream: BinaryIO, size: int) -> bytes:
    if size == 0:
        raise SavedFileError(f"{name}: the file is empty")
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 + 2 or length < 2:
        raise SavedFileError(f"{name}: no safetensors file, or cut off: it has {size} bytes")
    if length > min(size - 8, _MOST_HEADER_BYTES):
        raise SavedFileError(
            f"{name}: no safetensors file, or cut off: a header of {length} bytes in a file of "
            f"{size}"
        )
    return stream.read(length)


def _parse(name: str, header: bytes, data_size: int) -> tuple[dict[str, str], list[_Entry]]:
    """Metadata and entries, in the order of their places."""
    try:
        table = json.loads(
            header.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SavedFileError(f"{name}: damaged, the header cannot be read: {reason}") from None
    if not isinstance(table, dict):
        raise SavedFileError(f"{name}: damaged, the header is no table")
    metadata = table.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise SavedFileError(f"{name}: damaged, the metadata are not all strings")
    entries = [_entry(name, key, value) for key, value in table.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    place = 0
    for entry in entries:
        if entry.begin != place:
            raise SavedFileError(
                f"{name}: damaged, {entry.name!r} begins at {entry.begin} instead of {place}"
            )
        place = entry.end
    if place != data_size:
        raise SavedFileError(
            f"{name}: damaged or cut off, {data_size} bytes of data instead of {place}"
        )
    return metadata, entries


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name is there twice")
    return table


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _entry(name: str, key: str, value: Any) -> _Entry:
    def wrong(what: str) -> SavedFileError:
        return SavedFileError(f"{name}: damaged, {what} of {key!r} is wrong")

    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise wrong("the entry")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise SavedFileError(f"{name}: {key!r} has the dtype {dtype!r}, which is not supported")
    if not _counts(shape) or len(shape) > _MOST_AXES:
        raise wrong("the shape")
    if not _counts(offsets) or len(offsets) != 2:
        raise wrong("the place")
    found = np.dtype(_DTYPES[dtype])
    # With empty axes as well, NumPy wants the others to be addressable.
    if math.prod(max(extent, 1) for extent in shape) > _MOST_ELEMENTS:
        raise wrong("the shape")
    if offsets[1] - offsets[0] != math.prod(shape) * found.itemsize:
        raise wrong("the size")
    return _Entry(key, found, tuple(shape), offsets[0], offsets[1])


def _counts(value: Any) -> bool:
    """Whether it is a list of whole numbers, none of them negative."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _data(name: str, stream: BinaryIO, header: bytes, entries: list[_Entry]) -> tuple[Arrays, int]:
    blank = bytearray(header)
    blank[_DIGITS] = b"00000000"
    checksum = zlib.crc32(blank)
    arrays = {}
    for entry in entries:
        array = np.empty(entry.shape, entry.dtype)
        if array.size:
            view = array.reshape(-1).view(np.uint8).data
            if stream.readinto(view) != len(view):  # type: ignore[attr-defined]
                raise SavedFileError(f"{name}: cut off while it was read")
            checksum = zlib.crc32(view, checksum)
        arrays[entry.name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return arrays, checksum


def _compare(name: str, header: bytes, metadata: dict[str, str], checksum: int) -> None:
    """Files of others have no checksum."""
    if not header.startswith(_HEAD):
        if "checksum" in metadata or "fastprop" in metadata:
            raise SavedFileError(f"{name}: damaged, the checksum is not where it has to be")
        return
    if metadata["checksum"] != f"{checksum:08x}":
        raise SavedFileError(f"{name}: damaged, the checksum does not fit the contents")
