"""NumPy's ``.npz`` files."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.paths import existing
from fastprop.registry import did_you_mean


def from_npz(
    path: str | os.PathLike[str],
    x: str | tuple[str, ...] = "x",
    y: str | tuple[str, ...] | None = "y",
    sample_weight: str | None = None,
) -> ArrayDataset:
    """Inputs and targets from the arrays of an ``.npz`` file.

    Args:
        path: The file. Nothing in it can run code: pickled objects are refused.
        x: Name of the inputs; a tuple of names for a model with several.
        y: Name of the targets, alike, or ``None``.
        sample_weight: Name of the weights.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No ``.npz``, a damaged one, an array that is not there, lengths that differ.
        TypeError: Arrays of objects or of text.
    """
    where = "from_npz"
    file = existing(where, path)
    with file.open("rb") as stream:
        begin = stream.read(6)
    if begin == npy.MAGIC_PREFIX:
        raise ValueError(
            f"{where}: {file} holds a single array, expected several, as np.savez writes them. "
            "ArrayDataset(np.load(path, mmap_mode='r'), y) takes single ones"
        )
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{where}: {file} is no .npz file, or a damaged one")
    with np.load(file, allow_pickle=False) as archive:

        def get(name: Any) -> Any:
            if isinstance(name, tuple):
                return tuple(_array(where, str(file), archive, part) for part in name)
            return None if name is None else _array(where, str(file), archive, name)

        return ArrayDataset(get(x), get(y), get(sample_weight))


def _array(where: str, file: str, archive: Any, name: str) -> NDArray[Any]:
    if name not in archive.files:
        there = ", ".join(map(repr, archive.files)) or "nothing"
        hint = did_you_mean(name, archive.files)
        raise ValueError(f"{where}: {file} has no array {name!r}{hint} There are: {there}")
    try:
        array: NDArray[Any] = archive[name]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{where}: {file}, array {name!r} is damaged: {error}") from error
    except ValueError as error:
        if "pickle" in str(error):
            raise TypeError(
                f"{where}: {file}, array {name!r} holds pickled objects, which are not loaded"
            ) from error
        raise ValueError(f"{where}: {file}, array {name!r} is damaged: {error}") from error
    return array
