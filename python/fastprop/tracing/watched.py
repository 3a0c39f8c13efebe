"""What a function reads besides its arguments, Parameters and Buffers, so that a change is seen.

Python runs only while a function is traced, so a number that it takes from a closure, a global name
or an attribute becomes part of the Program. The names that a function can read are written in its
code; what they stood for when it was traced is compared before every call.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from fastprop import _core
from fastprop.graph.changes import Table
from fastprop.graph.tensor import Tensor
from fastprop.tracing.structure import PLAIN, Structure, constants

_MOST = 512
"""Places that are watched; a larger world is not searched further."""

_LARGEST = 64
"""Elements of a list or dict up to which it is looked into."""

_GONE = object()
_SETTINGS = ("argparse", "types")  # whose Namespaces hold what users chose
_CALLED = {"__call__", "forward"}


class Watched:
    """The places that a function reads, and what was there.

    Args:
        function: The function, which has just been traced.
        structure: Of its arguments.
        modules: Those that it called.
        read: Ids of Tensors that the Program reads itself, whose values may change.

    Attributes:
        places: They tell whether everything is as it was: numbers and strings by what they are,
            anything else by identity. Before every call, so in C++: a place takes 16 ns.
    """

    def __init__(
        self, function: Any, structure: Structure, modules: Iterable[Any], read: Collection[int]
    ) -> None:
        self._items: list[tuple[Mapping[Any, Any], Any, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._tensors: list[tuple[Tensor, int]] = []
        self._read = read
        self._seen: dict[int, Any] = {}
        self._names: set[str] = set()
        self._objects: list[Any] = []
        self._visit(function)
        for constant in constants(structure):
            self._visit(constant.value)
        for module in modules:
            self._visit(module)
        self._look_into_objects()
        self.places = _core.WatchedPlaces(
            self._items, self._cells, self._lists, self._tensors, _GONE, PLAIN
        )

    # -- where a function looks ---

    def _visit(self, value: Any) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen or len(self._items) >= _MOST:
            return
        self._seen[id(value)] = value  # alive, so that its id stays its own
        if isinstance(value, Tensor):
            if type(value) is Tensor and id(value) not in self._read:
                self._tensors.append((value, value.time))
        elif isinstance(value, FunctionType):
            self._visit_function(value)
        elif isinstance(value, MethodType):
            self._visit(value.__func__)
            self._visit(value.__self__)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self._visit(part)
        elif type(value) is dict:
            self._visit_dict(value)
        elif type(value) is list or type(value) is tuple:
            if type(value) is list and len(value) <= _LARGEST:
                self._lists.append((value, [*value]))
            for item in value[:_LARGEST]:
                self._visit(item)
        elif _is_module(value) or _of_user(value):
            self._objects.append(value)
        elif isinstance(getattr(value, "function", None), FunctionType):  # a compiled one
            self._visit(value.function)

    def _visit_function(self, function: FunctionType) -> None:
        if not _of_user(function):
            return
        for cell in function.__closure__ or ():
            contents = _contents(cell)
            self._cells.append((cell, contents))
            self._visit(contents)
        own = function.__globals__
        for name in dict.fromkeys(_names(function.__code__)):
            self._names.add(name)
            if name in own:
                self._watch(own, name)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._visit(default)

    def _visit_dict(self, value: dict[Any, Any]) -> None:
        if len(value) <= _LARGEST:
            for key in value:
                self._watch(value, key)

    def _watch(self, holder: dict[Any, Any], key: Any) -> None:
        value = holder[key]
        if not isinstance(value, ModuleType | type):  # nobody puts another one in its place
            self._items.append((holder, key, value))
        self._visit(value)

    def _look_into_objects(self) -> None:
        """Attributes of the names that the functions mention; methods mention further ones."""
        known = -1
        while known != (known := len(self._names) + len(self._objects)):
            for item in [*self._objects]:
                for kind in item.__mro__ if isinstance(item, type) else type(item).__mro__:
                    for name in (self._names | _CALLED).intersection(vars(kind)):
                        self._visit(vars(kind)[name])
        for item in self._objects:
            own = getattr(item, "__dict__", None)
            if type(own) is dict:
                self._look_at_attributes(item, own, _is_module(item))
            elif isinstance(item, type):
                of_class = vars(item)
                found = self._names.intersection(of_class)
                self._items += [(of_class, name, of_class[name]) for name in found]

    def _look_at_attributes(self, item: Any, own: dict[str, Any], tells: bool) -> None:
        """Attributes of an object; a module tells itself what is assigned to it."""
        for name in sorted(self._names):
            if name not in own:
                for kind in type(item).__mro__:
                    if name in vars(kind) and not tells:
                        self._items += [(vars(kind), name, vars(kind)[name]), (own, name, _GONE)]
                        break
            elif tells:
                self._visit(own[name])
            else:
                self._watch(own, name)


def _is_module(value: Any) -> bool:
    return type(getattr(value, "__dict__", {}).get("_modules")) is Table


def _of_user(value: Any) -> bool:
    """Whether something was written by the user: it is of no library."""
    if isinstance(value, ModuleType):
        name = value.__name__
    else:  # types of C do not hand their module on to what is made of them
        name = getattr(value, "__module__", None) or type(value).__module__
    return not _is_library(str(name).partition(".")[0])


@cache
def _is_library(package: str) -> bool:
    if package in _SETTINGS:
        return False
    if package in ("builtins", "fastprop") or package in sys.stdlib_module_names - {"__main__"}:
        return True
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _names(code: CodeType) -> Iterator[str]:
    """The global names and attributes that some code and the functions in it mention."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
        return _GONE
