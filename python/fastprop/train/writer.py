"""Checkpoints are written while the training goes on, which waits for a copy only."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop import _core
from fastprop.train.checkpoint import Snapshot, write_snapshot


class _Copy:
    """Arrays of a Snapshot, in memory that is used again for the next one.

    New memory would have to be mapped page by page, which takes longer than the copying.
    """

    def __init__(self) -> None:
        self.description: dict[str, Any] = {}
        self.arrays: dict[str, NDArray[Any]] = {}

    def take(self, snapshot: Snapshot) -> None:
        before = self.arrays
        self.arrays = {name: _like(a, before.get(name)) for name, a in snapshot.arrays.items()}
        for name, array in snapshot.arrays.items():
            np.copyto(self.arrays[name], array)
        self.description = snapshot.description


def _like(array: NDArray[Any], kept: NDArray[Any] | None) -> NDArray[Any]:
    if kept is not None and kept.shape == array.shape and kept.dtype == array.dtype:
        return kept
    return np.empty(array.shape, array.dtype)


class BackgroundWriter:
    """Writes Snapshots to one path, on a thread of its own.

    A Snapshot that comes while another is being written waits; one that waits is given up for a
    newer one. So there are at most two copies, and the newest state is always written last.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._free: list[_Copy] = []
        self._waiting: _Copy | None = None
        self._thread: threading.Thread | None = None
        self._finished = False
        self._failure: Exception | None = None

    def prepare(self, snapshot: Snapshot) -> None:
        """Get the memory for the first copy now, and the thread, when nobody waits."""
        copy = _Copy()
        copy.take(snapshot)
        self._free.append(copy)
        self._thread = threading.Thread(target=self._work, name="fastprop checkpoint", daemon=True)
        self._thread.start()

    def submit(self, snapshot: Snapshot) -> None:
        """Copy a Snapshot, and have it written.

        One of a model that is broken already may not take the place of one that is not.
        """
        broken = _not_finite(snapshot.arrays)
        if broken:
            with self._changed:
                self._failure = ValueError(f"{broken} is not finite")
            return
        with self._changed:
            copy, self._waiting = self._waiting, None
            if copy is None:
                copy = self._free.pop() if self._free else _Copy()
        copy.take(snapshot)
        with self._changed:
            self._waiting = copy
            self._changed.notify()

    def finish(self) -> None:
        """Wait until all is written; the thread ends."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._finished = True
                self._changed.notify()
            thread.join()

    def failure(self) -> Exception | None:
        """Why the latest Snapshot was not written; ``None`` from then on until it happens again."""
        with self._changed:
            failure, self._failure = self._failure, None
        return failure

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._finished)
                copy, self._waiting = self._waiting, None
            if copy is None:
                return
            failure: Exception | None = None
            try:
                write_snapshot(self._path, Snapshot(copy.description, copy.arrays))
            except Exception as error:  # whatever it is, the training must not end with it
                failure = error
            with self._changed:
                self._failure = failure
                self._free.append(copy)


def _not_finite(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The first parameter that has a NaN or an infinity in it, or nothing."""
    for name, array in arrays.items():
        if name.startswith("model.") and array.dtype.kind == "f" and not _core.all_finite(array):
            return name.removeprefix("model.")
    return ""
