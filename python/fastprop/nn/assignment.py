"""Assignments to attributes of modules: what may not be assigned, and what others must notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastprop.graph.parameter import Buffer, Parameter
from fastprop.graph.tensor import Tensor
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.nn.module import Module


def check_assignment(module: Module, name: str, value: Any) -> None:
    """Refuse numbers in the place of a parameter, and modules or parameters in plain containers.

    Raises:
        TypeError: Such a value; the message says what to write instead.
    """
    if isinstance(value, (list, tuple, dict)):
        _refuse_hidden(module, name, value)
    for table in ("_parameters", "_buffers"):
        old = module.__dict__.get(table, {}).get(name)
        if old is not None and value is not None and not isinstance(value, Parameter | Buffer):
            kind = type_name(old)
            raise TypeError(
                f"{type_name(module)}.{name} is a {kind}, got {type_name(value)}; write "
                f".{name}.data = … to change its numbers, or assign another {kind} or None"
            )


def _refuse_hidden(
    module: Module, name: str, value: list[Any] | tuple[Any, ...] | dict[Any, Any]
) -> None:
    from fastprop.nn.module import Module

    items = value.values() if isinstance(value, dict) else value
    found = [item for item in items if isinstance(item, Module | Parameter)]
    if not found:
        return
    known = {id(item) for item in (*module._modules.values(), *module._parameters.values())}
    for item in found:
        if id(item) not in known:
            whole = isinstance(item, Module)
            raise TypeError(
                f"{type_name(module)}.{name}: a {type_name(value)} hides its "
                f"{'modules' if whole else 'parameters'} from training; "
                f"{'use nn.ModuleList' if whole else 'assign each to an attribute of its own'}"
            )


def decides(before: Any, value: Any) -> bool:
    """Whether an attribute's new value may change what a module computes; a kept result not."""
    if value is before or any(isinstance(t, Tensor) and t.op is not None for t in (before, value)):
        return False
    if isinstance(value, int | float | str) and type(value) is type(before):
        return bool(value != before)
    return True
