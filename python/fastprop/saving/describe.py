"""Objects as JSON: by the names of their classes, and the arguments that make them.

What JSON has stands for itself. Everything else is ``{"$": kind, …}``: tuples, arrays (which lie
beside the JSON, under the name that is given), classes and functions of the library by their
names in :func:`names`. What has no name there is described as missing, and must be passed again by
who reads the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprop.registry import type_name
from fastprop.saving.errors import SavedFileError

_KIND = "$"
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@cache
def names() -> dict[str, Any]:
    """Classes and functions of the library by the names that files know them by."""
    from fastprop import functional, losses, metrics, nn, optim, regularizers
    from fastprop.optim import schedules

    found: dict[str, Any] = {}
    packages = {
        "nn": nn,
        "optim": optim,
        "schedules": schedules,
        "losses": losses,
        "metrics": metrics,
        "regularizers": regularizers,
        "functional": functional,
    }
    for prefix, package in packages.items():
        public = getattr(package, "__all__", None) or vars(package)
        for name in public:
            value = getattr(package, name)
            if callable(value) and not name.startswith("_"):
                found.setdefault(f"{prefix}.{name}", value)
    found.update({f"init.{name}": value for name, value in nn.init.INITIALIZERS.items()})
    return found


@cache
def _names_of() -> dict[int, str]:
    """The same the other way round. An object with two names has the first one."""
    found: dict[int, str] = {}
    for name, value in names().items():
        found.setdefault(id(value), name)
    return found


class Encoder:
    """Turns objects into JSON values.

    Attributes:
        arrays: The arrays that were met, by the names that the JSON has for them; not copied.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # what has a number; another object may not take its id

    def encode(self, value: Any, path: str) -> Any:
        """A JSON value, made anew, for `value`.

        Args:
            value: Anything.
            path: Where it is found; names the arrays in it.
        """
        for kind, rule in _RULES.items():
            if isinstance(value, kind):
                return rule(self, value, path)
        if callable(getattr(value, "config", None)) and not isinstance(value, type):
            return self._object(value, path)
        return self._named(value)

    def _list(self, value: Sequence[Any], path: str) -> list[Any]:
        return [self.encode(item, f"{path}.{i}") for i, item in enumerate(value)]

    def _tuple(self, value: tuple[Any, ...], path: str) -> Any:
        return {_KIND: "tuple", "items": self._list(value, path)}

    def _mapping(self, value: Mapping[Any, Any], path: str) -> Any:
        if all(isinstance(key, str) for key in value) and _KIND not in value:
            return {key: self.encode(item, f"{path}.{key}") for key, item in value.items()}
        pairs = [[self.encode(k, path), self.encode(v, f"{path}.{k}")] for k, v in value.items()]
        return {_KIND: "dict", "pairs": pairs}

    def _array(self, value: NDArray[Any], path: str) -> Any:
        if value.dtype.kind not in "fiub":
            return _missing(f"an array of dtype {value.dtype}")
        name = path
        while name in self.arrays:  # a key with a dot in it may look like a path
            name += "'"
        self.arrays[name] = value
        return {_KIND: "array", "name": name}

    def _object(self, value: Any, path: str) -> Any:
        """An object by its class and arguments; one that comes again by its number."""
        number = self._numbers.get(id(value))
        if number is not None:
            return {_KIND: "again", "number": number}
        number = self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        known = _names_of().get(id(type(value)))
        arguments = {k: self.encode(v, f"{path}.{k}") for k, v in value.config().items()}
        name = known or type(value).__qualname__
        kind = "new" if known else "own"
        return {_KIND: kind, "class": name, "number": number, "arguments": arguments}

    def _named(self, value: Any) -> Any:
        name = _names_of().get(id(value))
        if name is not None:
            return {_KIND: "name", "name": name}
        if isinstance(value, np.dtype) or (
            isinstance(value, type) and issubclass(value, np.generic)
        ):
            return {_KIND: "dtype", "name": np.dtype(value).name}
        if isinstance(value, type):
            return _missing(f"the class {value.__qualname__}")
        if callable(value):
            return _missing(f"the function {getattr(value, '__qualname__', type_name(value))}")
        return _missing(f"an object of class {type_name(value)}")


def _missing(what: str) -> dict[str, Any]:
    return {_KIND: "missing", "what": what}


def _float(encoder: Encoder, value: float, path: str) -> Any:
    number = float(value)
    return number if math.isfinite(number) else {_KIND: "float", "value": repr(number)}


# Python's repr of a float, which JSON takes, gives back the same bits.
_RULES: dict[Any, Callable[[Encoder, Any, str], Any]] = {
    (type(None), bool, str): lambda encoder, value, path: value,
    int: lambda encoder, value, path: int(value),
    float: _float,
    np.generic: lambda encoder, value, path: encoder.encode(value.item(), path),
    np.ndarray: Encoder._array,
    tuple: Encoder._tuple,
    list: Encoder._list,
    Mapping: Encoder._mapping,
}


class Decoder:
    """Makes objects of JSON values.

    Args:
        where: What the messages start with: the file.
        arrays: The arrays that lie beside the JSON.
        classes: Classes of the user's that may be made, besides those of the library.
    """

    def __init__(
        self, where: str, arrays: Mapping[str, NDArray[Any]], classes: Sequence[type] = ()
    ) -> None:
        self._where = where
        self._arrays = arrays
        self._own = {cls.__qualname__: cls for cls in classes}
        self._advice = ""
        self._made: dict[int, Any] = {}

    def make(self, value: Any, path: str, advice: str) -> Any:
        """The object that `value` describes.

        Args:
            value: A JSON value.
            path: What it is, such as ``"the loss"``; for messages.
            advice: What to do where something in it is missing; for messages.

        Raises:
            SavedFileError: It is malformed, or describes what is not in the file.
        """
        self._advice = advice
        try:
            return self.decode(value, path)
        except RecursionError:
            raise self._wrong(path, "nested too deep") from None

    def decode(self, value: Any, path: str) -> Any:
        """As :meth:`make`, for a part of it."""
        if isinstance(value, list):
            return [self.decode(item, path) for item in value]
        if not isinstance(value, dict):
            return value
        if _KIND not in value:
            return {key: self.decode(item, f"{path}.{key}") for key, item in value.items()}
        rule = _KINDS.get(value[_KIND]) if isinstance(value[_KIND], str) else None
        if rule is None:
            raise self._wrong(path, f"unknown kind {value[_KIND]!r}")
        try:
            return rule(self, value, path)
        except SavedFileError:
            raise
        except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
            raise self._wrong(path, repr(error)) from None

    def _wrong(self, path: str, why: str) -> SavedFileError:
        return SavedFileError(f"{self._where}: the description of {path} is wrong: {why}")

    def _tuple(self, value: dict[str, Any], path: str) -> tuple[Any, ...]:
        return tuple(self.decode(item, path) for item in value["items"])

    def _dict(self, value: dict[str, Any], path: str) -> dict[Any, Any]:
        return {self.decode(k, path): self.decode(v, path) for k, v in value["pairs"]}

    def _float(self, value: dict[str, Any], path: str) -> float:
        return _FLOATS[value["value"]]

    def _dtype(self, value: dict[str, Any], path: str) -> str:
        return str(value["name"])

    def _array(self, value: dict[str, Any], path: str) -> NDArray[Any]:
        return self._arrays[value["name"]]

    def _again(self, value: dict[str, Any], path: str) -> Any:
        return self._made[value["number"]]

    def _name(self, value: dict[str, Any], path: str) -> Any:
        return names()[value["name"]]

    def _new(self, value: dict[str, Any], path: str) -> Any:
        cls = names()[value["class"]]
        if not isinstance(cls, type) or not hasattr(cls, "config"):
            raise self._wrong(path, f"{value['class']} is no class to make objects of")
        return self._make(cls, value, path)

    def _of_user(self, value: dict[str, Any], path: str) -> Any:
        cls = self._own.get(value["class"])
        if cls is None:
            raise SavedFileError(
                f"{self._where}: {path} is of your class {value['class']}: pass "
                f"classes=[{value['class'].rpartition('.')[2]}], or {self._advice}"
            )
        return self._make(cls, value, path)

    def _make(self, cls: Any, value: dict[str, Any], path: str) -> Any:
        given = value["arguments"]
        arguments = {str(key): self.decode(v, f"{path}.{key}") for key, v in given.items()}
        try:
            made = cls.from_config(arguments) if hasattr(cls, "from_config") else cls(**arguments)
        except SavedFileError:
            raise
        except (TypeError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
            raise SavedFileError(
                f"{self._where}: {path} cannot be made: {type_name(error)}: {error}"
            ) from error
        self._made[value["number"]] = made
        return made

    def _missing(self, value: dict[str, Any], path: str) -> Any:
        raise SavedFileError(
            f"{self._where}: {path} is {value['what']}, which is not in the file: {self._advice}"
        )


_KINDS: dict[str, Callable[[Decoder, dict[str, Any], str], Any]] = {
    "tuple": Decoder._tuple,
    "dict": Decoder._dict,
    "float": Decoder._float,
    "dtype": Decoder._dtype,
    "array": Decoder._array,
    "again": Decoder._again,
    "name": Decoder._name,
    "new": Decoder._new,
    "own": Decoder._of_user,
    "missing": Decoder._missing,
}
