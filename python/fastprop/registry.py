"""Names that users type, and the objects they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def lookup(where: str, kind: str, name: str, known: Mapping[str, T]) -> T:
    """The object called `name`.

    Args:
        where: Function or class that the user called; starts the message.
        kind: What is looked for, such as ``"loss"``.
        name: What the user typed.
        known: Every name there is.

    Raises:
        ValueError: There is no such name; the message has the nearest one and lists all.
    """
    if name in known:
        return known[name]
    from difflib import get_close_matches  # wanted for an error only

    nearest = get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"{where}: unknown {kind} {name!r}{hint} Known: {', '.join(sorted(known))}")


def type_name(value: Any) -> str:
    """How an error message calls the type of `value`."""
    return type(value).__name__
