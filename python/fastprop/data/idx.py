"""IDX files, the format of MNIST and its relatives (Y. LeCun, C. Cortes, C. Burges)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.paths import existing

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_HEADER_BYTES = 4 + 4 * 255  # at most
_GZIP = b"\x1f\x8b"


def from_idx(
    inputs: str | os.PathLike[str], targets: str | os.PathLike[str] | None = None
) -> ArrayDataset:
    """Inputs and targets from IDX files.

    Args:
        inputs: File of the inputs, such as ``train-images-idx3-ubyte``; also compressed (``.gz``).
        targets: File of the targets, such as ``train-labels-idx1-ubyte``, or ``None``.

    Returns:
        Arrays of the files' dtype and shape: MNIST's images are uint8 ``[60000, 28, 28]``, as are
        memory-mapped files if they are not compressed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Another magic number, a file that is too short or too long, lengths that differ.
    """
    x = _read(existing("from_idx", inputs))
    y = None if targets is None else _read(existing("from_idx", targets))
    if y is not None and len(x) != len(y):
        raise ValueError(f"from_idx: {inputs} has {len(x)} rows, {targets} has {len(y)}")
    if y is not None and y.ndim > x.ndim:
        raise ValueError(
            f"from_idx: a row of {targets} has shape {y.shape[1:]}, one of {inputs} has "
            f"{x.shape[1:]}; are inputs and targets the wrong way round?"
        )
    return ArrayDataset(x, y)


def _read(file: Path) -> NDArray[Any]:
    with file.open("rb") as stream:
        compressed = stream.read(2) == _GZIP
    data: Any
    if compressed:
        try:
            data = np.frombuffer(_decompressed(file), np.uint8)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"from_idx: {file}, a gzip file, is damaged: {error}") from error
    else:
        data = np.memmap(file, np.uint8, mode="r") if file.stat().st_size else np.empty(0, np.uint8)
    dtype, shape, begin = _header(file, bytes(data[:_HEADER_BYTES]))
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) - begin != wanted:
        fault = "cut short" if len(data) - begin < wanted else "too long"
        least = "at least " if compressed and fault == "too long" else ""
        raise ValueError(
            f"from_idx: {file} is {fault}: {dtype} {shape} are {wanted} bytes, and there are "
            f"{least}{len(data) - begin}"
        )
    values: NDArray[Any] = (
        data[begin:].view(dtype)
        if begin % dtype.itemsize == 0
        else (np.frombuffer(data[begin:].tobytes(), dtype))
    )
    return values.reshape(shape)


def _decompressed(file: Path) -> bytes:
    """A file's contents, up to a byte more than its header announces: a small file may hold much
    more than memory does."""
    found = bytearray()
    with gzip.open(file) as stream:
        found += stream.read(_HEADER_BYTES)
        dtype, shape, begin = _header(file, bytes(found))
        most = begin + math.prod(shape) * dtype.itemsize + 1
        while len(found) < most and (part := stream.read(min(1 << 20, most - len(found)))):
            found += part
    return bytes(found)


def _header(file: Path, head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """dtype and shape, and where the data begin."""
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or head[3] == 0:
        raise ValueError(
            f"from_idx: {file} begins with {head[:4].hex(' ') or 'nothing'}; an IDX file begins "
            "with 00 00, a byte for the dtype (08, 09, 0b, 0c, 0d or 0e) and one for the number of "
            "axes"
        )
    axes = head[3]
    if len(head) < 4 + 4 * axes:
        raise ValueError(f"from_idx: {file} is cut short within its {axes} extents")
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", axes, 4))
    return np.dtype(_DTYPES[head[2]]), shape, 4 + 4 * axes
