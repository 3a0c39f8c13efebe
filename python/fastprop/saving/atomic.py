"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream whose contents take the place of a file when the block has ended.

    Until then, and for ever if the block or the writing fails, what was there stays. Written is a
    file ``.NAME.tmp`` beside it, so one process at a time may write to a path; one that a killed
    process left is written over. Contents and name are on the disk (fsync) when this returns.

    Args:
        path: The file; if it is a link, what that points to.

    Raises:
        OSError: The folder cannot be written, the disk is full, ….
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():  # else the message would be about the temporary file
        raise FileNotFoundError(errno.ENOENT, "there is no folder for the file", str(path))
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a new name last. Not every file system can, and Windows opens no folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
