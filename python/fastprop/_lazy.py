"""Packages whose names are loaded when they are first asked for (PEP 562).

A module of Python takes half a millisecond to load, and a program uses a third of the library's. So
a package says in a table in which module each of its names is defined, and a stub beside it
(``__init__.pyi``) says the same to type checkers, which cannot read tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str,
    modules: Mapping[str, Sequence[str]],
    submodules: Sequence[str] = (),
    *,
    hints: str = "",
    ready: Callable[[Any, str], Any] = lambda value, package: value,
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` of a package that loads its names when asked.

    Args:
        package: Its ``__name__``. Names that were asked for are kept among its globals, where
            Python finds them the next time.
        modules: Which names are in which module, said without ``"fastprop."``. No name may be that
            of a module of the package itself, as Python puts the module there when it is loaded.
        submodules: Modules of the package that are names of it, too.
        hints: Which table of :mod:`fastprop.hints` knows what else a missing name is called.
        ready: Makes of what a module has, and the package's name, what the package has.
    """
    homes = {name: module for module, names in modules.items() for name in names}
    exported = [*homes, *submodules]
    namespace = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name in homes:
            found = getattr(import_module(f"fastprop.{homes[name]}"), name)
            value = namespace[name] = ready(found, package)
            return value
        if name in submodules:
            return import_module(f"{package}.{name}")
        message = f"module {package!r} has no attribute {name!r}"
        if hints and name[:2] != "__":  # Python asks for such names of its own accord
            tables = import_module("fastprop.hints")  # `from fastprop import …` would ask here
            raise tables.missing(message, name, getattr(tables, hints))
        raise AttributeError(message)

    def names() -> list[str]:
        return sorted({*namespace, *exported})

    return exported, load, names
