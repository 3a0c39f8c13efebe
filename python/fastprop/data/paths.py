"""Names of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def files_of(where: str, paths: Paths, ending: str) -> list[Path]:
    """The files that are meant: those given, or all of a folder in the order of their names.

    Raises:
        FileNotFoundError: There is no such file, or none in the folder.
        TypeError: No path.
    """
    if isinstance(paths, str | os.PathLike):
        folder = Path(paths)
        if not folder.is_dir():
            return [existing(where, folder)]
        found = sorted(folder.glob(f"*{ending}"))
        if not found:
            raise FileNotFoundError(f"{where}: there is no *{ending} in the folder {folder}")
        return found
    if not isinstance(paths, Sequence) or not paths:
        raise TypeError(f"{where}: path must be a file, a folder or a list of files, got {paths!r}")
    return [existing(where, path) for path in paths]


def stamp(files: Sequence[Path], *arguments: object) -> str:
    """A text that is another one for other files, or for arguments that print differently."""
    stats = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    import hashlib  # loads OpenSSL, which takes milliseconds of every start

    return hashlib.sha256(repr((stats, arguments)).encode()).hexdigest()


def existing(where: str, path: str | os.PathLike[str]) -> Path:
    """A path to a file that is there."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{where}: expects the path of a file, got {path!r}")
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{where}: there is no file {file}")
    if file.is_dir():
        raise IsADirectoryError(f"{where}: {file} is a folder, expected a file")
    return file
