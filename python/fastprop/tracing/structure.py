"""Arguments and results of a function, taken apart into arrays and the containers around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_PLAIN = (int, float, complex, str, bytes, bool, slice, range, type(None))


class Leaf:
    """The place of an array in a structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "array"


LEAF = Leaf()


class Constant:
    """Something that is no array: a number by its value, any other object by its identity."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        plain = isinstance(value, _PLAIN)
        self._key = (type(value), repr(value) if plain else id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Container(NamedTuple):
    """A tuple, list or dict: its type, its keys if it is a dict, and what it holds."""

    kind: type
    keys: tuple[Any, ...]
    items: tuple[Any, ...]


Structure = Leaf | Constant | Container


def take_apart(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Structure:
    """The structure of `value`, which compares and hashes; its leaves are appended to `leaves`."""
    if is_leaf(value):
        leaves.append(value)
        return LEAF
    if isinstance(value, tuple | list):
        items = tuple(take_apart(item, is_leaf, leaves) for item in value)
        return Container(type(value), (), items)
    if isinstance(value, Mapping):
        items = tuple(take_apart(item, is_leaf, leaves) for item in value.values())
        return Container(type(value), tuple(value), items)
    return Constant(value)


def put_together(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The value that has this structure and these leaves."""
    if isinstance(structure, Leaf):
        return next(leaves)
    if isinstance(structure, Constant):
        return structure.value
    items = [put_together(item, leaves) for item in structure.items]
    if issubclass(structure.kind, Mapping):
        pairs = zip(structure.keys, items, strict=True)
        return structure.kind(pairs)  # type: ignore[call-arg]
    if hasattr(structure.kind, "_fields"):  # a named tuple
        return structure.kind(*items)
    return structure.kind(items)  # type: ignore[call-arg]
