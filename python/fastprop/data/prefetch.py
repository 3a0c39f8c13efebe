"""Reading ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_WAKE_SECONDS = 0.1  # how soon a waiting thread notices Ctrl-C or the end
_LEAVE_SECONDS = 5.0  # for a thread to finish its piece; one that hangs must not hang the program


class Pool(Generic[T]):
    """A few objects that are filled in one thread and used up in another.

    So memory stays as it is however many of them go by, and the reader is never further ahead than
    there are objects.

    Args:
        objects: What is handed out.
    """

    def __init__(self, objects: list[T]) -> None:
        self._free: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._waiting = False
        self.closed = False
        for item in objects:
            self._free.put(item)

    def take(self) -> T:
        """One that nobody uses; waits for it.

        Raises:
            Closed: Nobody will give one back.
        """
        found: list[T] = []
        self._waiting = True
        while not found:
            if self.closed:
                raise Closed
            found = _get(self._free)
        self._waiting = False
        return found[0]

    @property
    def starved(self) -> bool:
        """Somebody waits for one, and there is none."""
        return self._waiting and self._free.empty()

    def give_back(self, item: T) -> None:
        self._free.put(item)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self.closed = True


def _get(items: queue.SimpleQueue[T]) -> list[T]:
    """One item, or none for now: a wait without an end could not be interrupted on Windows."""
    try:
        return [items.get(timeout=_WAKE_SECONDS)]
    except queue.Empty:
        return []


class Closed(Exception):
    """What a thread that reads ahead gets when nobody wants more."""


class Prefetch(Generic[T]):
    """Iterates in a thread; what it finds comes out here in the same order.

    An error in the thread is raised here, after what came before it.

    Args:
        make: Makes the iterator, inside the thread.
        stop: Called once by :meth:`close`, so that the iterator ends if it waits for something.
    """

    def __init__(self, make: Callable[[], Iterator[T]], stop: Callable[[], object]) -> None:
        self._found: queue.SimpleQueue[tuple[str, T | BaseException | None]] = queue.SimpleQueue()
        self._stop = stop
        self._ended = False
        self._thread = threading.Thread(
            target=self._run, args=(make,), name="fastprop-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        kind, value = self._next()
        if kind == "item":
            return value  # type: ignore[return-value]
        self._ended = True
        self._thread.join()
        if kind == "error":
            assert isinstance(value, BaseException)
            raise value
        raise StopIteration

    def _next(self) -> tuple[str, T | BaseException | None]:
        found: list[tuple[str, T | BaseException | None]] = []
        while not found:
            found = _get(self._found)
        return found[0]

    @property
    def alive(self) -> bool:
        """The thread has not ended yet."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread; waits until it has finished the piece that it reads."""
        self._ended = True
        self._stop()
        self._thread.join(_LEAVE_SECONDS)

    def _run(self, make: Callable[[], Iterator[T]]) -> None:
        try:
            for item in make():
                self._found.put(("item", item))
        except Closed:
            pass
        except BaseException as error:
            self._found.put(("error", error))
            return
        self._found.put(("end", None))
