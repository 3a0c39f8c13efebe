"""Arguments and results of a function, taken apart into arrays and the containers around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PLAIN: tuple[type, ...] = (int, float, complex, str, bytes, bool, slice, range, type(None))


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
        plain = isinstance(value, PLAIN)
        self._key = (type(value), repr(value) if plain else id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Container(NamedTuple):
    """A tuple, list, dict or dataclass: its type, its keys or fields, and what it holds."""

    kind: type
    keys: tuple[Any, ...]
    items: tuple[Any, ...]


Structure = Leaf | Constant | Container


def constants(structure: Structure) -> Iterator[Constant]:
    """What is no array in it."""
    if isinstance(structure, Constant):
        yield structure
    elif isinstance(structure, Container):
        for item in structure.items:
            yield from constants(item)


def look(structure: Structure) -> Any:
    """The structure without what differs from one trace to the next: which object it is."""
    if isinstance(structure, Container):
        return structure.kind, structure.keys, tuple(map(look, structure.items))
    if isinstance(structure, Constant) and not isinstance(structure.value, PLAIN):
        return type(structure.value)
    return structure


def take_apart(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Structure:
    """The structure of `value`, which compares and hashes; its leaves are appended to `leaves`.

    Raises:
        TypeError: An array is a key of a dict.
        ValueError: A container holds itself, or hundreds are nested.
    """
    try:
        return _taken_apart(value, is_leaf, leaves)
    except RecursionError:
        raise ValueError(
            "compile: an argument or result is a container (list, tuple, dict, dataclass) that "
            "contains itself, or is nested too deeply"
        ) from None


def _taken_apart(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Structure:
    if is_leaf(value):
        leaves.append(value)
        return LEAF
    if isinstance(value, tuple | list):
        items = tuple(_taken_apart(item, is_leaf, leaves) for item in value)
        return Container(type(value), (), items)
    if isinstance(value, Mapping):
        if any(map(is_leaf, value)):
            raise TypeError("compile: the keys of a dict must not be arrays or Tensors")
        items = tuple(_taken_apart(item, is_leaf, leaves) for item in value.values())
        return Container(type(value), tuple(value), items)
    fields = _fields(value)
    if fields is not None:
        items = tuple(_taken_apart(getattr(value, name), is_leaf, leaves) for name in fields)
        return Container(type(value), fields, items)
    return Constant(value)


def _fields(value: Any) -> tuple[str, ...] | None:
    """The names of a dataclass that holds nothing besides its fields."""
    fields = getattr(type(value), "__dataclass_fields__", None)
    if not fields or not all(hasattr(value, name) for name in fields):
        return None
    return tuple(fields) if fields.keys() >= getattr(value, "__dict__", {}).keys() else None


def putting_together(structure: Structure) -> Callable[[Sequence[Any]], Any]:
    """:func:`put_together` for one structure; a tuple or list of leaves takes no Python, which
    spares a call with two results 1.9 of 5.3 µs.
    """
    if isinstance(structure, Container) and structure.kind in (tuple, list):
        leaves_only = all(isinstance(item, Leaf) for item in structure.items)
        if leaves_only:
            return structure.kind
    return lambda leaves: put_together(structure, iter(leaves))


def put_together(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The value that has this structure and these leaves."""
    if isinstance(structure, Leaf):
        return next(leaves)
    if isinstance(structure, Constant):
        return structure.value
    items = [put_together(item, leaves) for item in structure.items]
    if structure.keys and not issubclass(structure.kind, Mapping):  # a dataclass, frozen or not
        made = object.__new__(structure.kind)
        for name, item in zip(structure.keys, items, strict=True):
            object.__setattr__(made, name, item)
        return made
    if issubclass(structure.kind, dict):  # some dicts are made of something else than pairs
        made = structure.kind.__new__(structure.kind)
        for key, item in zip(structure.keys, items, strict=True):
            made[key] = item
        return made
    if issubclass(structure.kind, Mapping):
        return structure.kind(zip(structure.keys, items, strict=True))  # type: ignore[call-arg]
    if hasattr(structure.kind, "_fields"):  # a named tuple
        return structure.kind(*items)
    return structure.kind(items)  # type: ignore[call-arg]
