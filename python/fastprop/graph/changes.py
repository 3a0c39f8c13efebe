"""A count of changes to what models are made of, whichever model it was.

A Trainer has to notice another parameter, a layer more, a parameter that is frozen now. Walking
through a model before every call would cost many times a small network's prediction (35 µs of 60
for three layers), so what changes says so here, and who has seen the latest number need not look.
"""

from __future__ import annotations

import itertools
from typing import Any

_numbers = itertools.count(1)  # never repeats, in whatever thread


class _Changes:
    """``latest`` is another number after every change."""

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = 0


CHANGES = _Changes()


def changed() -> None:
    """Something that a model is made of is another one now."""
    CHANGES.latest = next(_numbers)


class Table(dict[str, Any]):
    """A dict that reports every change of what it holds."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        changed()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        changed()

    def pop(self, key: str, *default: Any) -> Any:
        known = key in self
        value = super().pop(key, *default)
        if known:
            changed()
        return value

    def popitem(self) -> tuple[str, Any]:
        item = super().popitem()
        changed()
        return item

    def clear(self) -> None:
        super().clear()
        changed()

    def setdefault(self, key: str, default: Any = None) -> Any:
        value = super().setdefault(key, default)
        changed()
        return value

    def update(self, *args: Any, **items: Any) -> None:
        super().update(*args, **items)
        changed()

    def __ior__(self, other: Any) -> Table:  # type: ignore[override, misc]
        self.update(other)
        return self
