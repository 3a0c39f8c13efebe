"""Functions and constructors whose errors about names of arguments say what these are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from types import FunctionType
from typing import Any

from fastprop import _core

_OTHERWISE = {
    "axis", "axes", "axis1", "classes", "ddof", "diagonal", "keepdims", "offset", "repeats",
    "shape", "shift", "start",
}  # fmt: skip
"""Arguments that have other names in PyTorch or NumPy."""

_VARIABLE = 4  # CO_VARARGS; `inspect` takes long to load


def hinted(function: Callable[..., Any], module: str = "") -> Callable[..., Any]:
    """A function whose error about the name of an argument says what that is here.

    It costs a call up to 0.1 µs, so only functions with such arguments get it; anything else, also
    what C++ has made, comes back as it is.

    Args:
        function: A function on Tensors.
        module: Where users find it.
    """
    if not isinstance(function, FunctionType):
        return function
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARIABLE)
    if not _OTHERWISE.intersection(code.co_varnames[:count]):
        return function
    return _hinted(function, module or function.__module__)


def hint_constructor(cls: type) -> None:
    """Give the constructor that a class of the library defines such errors, for all names."""
    function = vars(cls).get("__init__")
    if isinstance(function, FunctionType) and cls.__module__.startswith("fastprop."):
        cls.__init__ = _hinted(function, cls.__module__)  # type: ignore[misc]


def _hinted(function: FunctionType, module: str) -> Callable[..., Any]:
    made: Callable[..., Any] = _core.hinted(function, _wrong_names)
    update_wrapper(made, function, updated=())
    made.__module__ = module
    return made


def _wrong_names(function: FunctionType, names: Sequence[str]) -> str | None:
    from fastprop import hints  # wanted for an error only

    return hints.wrong_names(function, names)
