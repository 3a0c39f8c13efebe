"""Names that users type, the objects they stand for, and the arguments that objects are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
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
    hint = did_you_mean(name, known)
    raise ValueError(f"{where}: unknown {kind} {name!r}{hint} Known: {', '.join(sorted(known))}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question for a message, ``"; did you mean 'x'?"``, or a full stop if no name is near."""
    from difflib import get_close_matches  # wanted for an error only

    by_letters = {other.casefold(): other for other in known}
    near = get_close_matches(name.casefold(), by_letters, n=1)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else "."


def type_name(value: Any) -> str:
    """How an error message calls the type of `value`."""
    return type(value).__name__


def constructor_arguments(made: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the constructor of `made` has parameters for."""
    parameters = list(inspect.signature(type(made).__init__).parameters)[1:]
    return {name: values[name] for name in parameters if name in values}


def construct(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """An object of `cls`, where ``*args`` and ``**options`` go by their names as well."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    several = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), -1)
    positional: list[Any] = []
    named: dict[str, Any] = dict(arguments)
    for i, parameter in enumerate(parameters):
        if parameter.name not in named:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(named.pop(parameter.name))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            positional.extend(named.pop(parameter.name))
        elif i < several or parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(named.pop(parameter.name))
    return cls(*positional, **named)
