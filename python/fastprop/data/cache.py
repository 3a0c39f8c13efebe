"""Decoded rows kept in files of their own, which are read as fast as memory."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fastprop.data.batch import Batch

if TYPE_CHECKING:
    from fastprop.data.array_dataset import ArrayStream
    from fastprop.data.stream import StreamDataset

_RECORD = "cache.json"


def cached(dataset: StreamDataset, folder: str | os.PathLike[str] | None) -> ArrayStream:
    """The rows of a stream in memory-mapped files; see :meth:`StreamDataset.cache`."""
    import shutil
    import tempfile

    from fastprop.data.array_dataset import ArrayDataset, ArrayStream

    temporary = folder is None

    with _writing(folder or tempfile.gettempdir()):
        place = Path(tempfile.mkdtemp(prefix="fastprop-")) if folder is None else Path(folder)
    try:
        with _writing(place):
            place.mkdir(parents=True, exist_ok=True)
        names = [name.replace("[", "").replace("]", "") for name, _ in dataset.head().named]
        if not _is_complete(place, dataset):
            _write(place, dataset, names)
    except BaseException:
        if temporary:
            shutil.rmtree(place, ignore_errors=True)
        raise
    arrays: list[Any] = [np.load(place / f"{name}.npy", mmap_mode="r") for name in names]
    made = ArrayStream(ArrayDataset(*dataset.head().with_arrays(arrays)), dataset.window_rows)
    made.transforms = dataset.transforms
    if temporary:
        weakref.finalize(made, shutil.rmtree, place, ignore_errors=True)
    return made


@contextmanager
def _writing(place: str | os.PathLike[str]) -> Iterator[None]:
    """A full disk or a folder that is not to be written says what was asked of it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"cache: decoded rows cannot be written here ({error.strerror}); give another folder, "
            "cache(folder), or train on the dataset as it is",
            os.fspath(place),
        ) from error


def _is_complete(folder: Path, dataset: StreamDataset) -> bool:
    """Does the folder hold these very rows, as far as can be told?"""
    wanted = dataset.fingerprint()
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return wanted is not None and isinstance(record, dict) and record.get("from") == wanted


def _write(folder: Path, dataset: StreamDataset, names: list[str]) -> None:
    """Write all rows, then the record: what was cut short is never taken for whole."""
    files: list[_Growing] = []
    try:
        with _writing(folder):
            (folder / _RECORD).unlink(missing_ok=True)
            files += [_Growing(folder / f"{name}.npy") for name in names]
        first: Batch | None = None
        for block in range(len(dataset.block_rows)):
            for piece in dataset.read(block, 1):
                if first is None:
                    first = piece
                if [n for n, _ in piece.named] != [n for n, _ in first.named]:
                    raise ValueError(f"cache: {dataset.block_name(block)} has other arrays")
                with _writing(folder):
                    for file, array in zip(files, piece.arrays, strict=True):
                        file.append(array, dataset.block_name(block))
        with _writing(folder):
            for file in files:
                file.finish()
            record = {"from": dataset.fingerprint()}
            (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    except BaseException:
        for file in files:
            file.give_up()
        raise


class _Growing:
    """An ``.npy`` file that rows are added to; its header leaves room for their number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: BinaryIO = self._part.open("wb")
        self._like: NDArray[Any] | None = None
        self._rows = 0

    def append(self, array: NDArray[Any], place: str) -> None:
        if self._like is None:
            self._like = np.empty((0, *array.shape[1:]), array.dtype)
            self._header()
        if array.dtype != self._like.dtype or array.shape[1:] != self._like.shape[1:]:
            raise ValueError(
                f"cache: {place} has rows of shape {array.shape[1:]} and dtype {array.dtype}, "
                f"those before had {self._like.shape[1:]} and {self._like.dtype}"
            )
        self._file.write(np.ascontiguousarray(array).data)
        self._rows += len(array)

    def _header(self) -> None:
        assert self._like is not None
        shape = (self._rows, *self._like.shape[1:])
        description = npy.dtype_to_descr(self._like.dtype)
        npy.write_array_header_2_0(
            self._file, {"descr": description, "fortran_order": False, "shape": shape}
        )

    def finish(self) -> None:
        """Let it take the place of what was there: others may have that mapped."""
        self._file.seek(0)
        self._header()
        self._file.close()
        os.replace(self._part, self._path)

    def give_up(self) -> None:
        with suppress(OSError):  # what is buffered still does not fit on the disk
            self._file.close()
        self._part.unlink(missing_ok=True)
