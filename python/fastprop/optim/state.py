"""An optimizer's state as a dict that goes into files, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.optim.groups import ParamGroup
from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.optim.optimizer import Optimizer

_KEYS = ("type", "hyper_parameters", "param_groups", "steps", "state")


def saved_state(optimizer: Optimizer, copy: bool) -> dict[str, Any]:
    """See :meth:`Optimizer.state_dict`."""
    positions = iter(range(len(optimizer.parameters)))
    names = optimizer.state_names if optimizer.parameters else ()
    return {
        "type": type_name(optimizer),
        "hyper_parameters": _without_functions(optimizer.defaults),
        "param_groups": [
            {"params": [next(positions) for _ in group.params], **_without_functions(group.own)}
            for group in optimizer.param_groups
        ],
        "steps": optimizer._counts.of_each,
        "state": {n: [a.copy() if copy else a for a in optimizer.state[n]] for n in names},
    }


def _without_functions(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not callable(value)}


def checked_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> Callable[[], None]:
    """Checks what ``state_dict`` gave; the function that is returned takes it over."""
    where = f"{type_name(optimizer)}.load_state_dict"
    if not optimizer.parameters:
        raise RuntimeError(f"{where}: no parameters yet; bind them first")
    try:
        kind, hyper, groups, steps, state = (saved[key] for key in _KEYS)
    except (KeyError, TypeError, IndexError):
        raise ValueError(f"{where}: expects what state_dict gave") from None
    if kind != type_name(optimizer):
        raise ValueError(f"{where}: this is the state of {kind}")
    defaults = {**optimizer.defaults, **_checked(optimizer, where, hyper)}
    made = _checked_groups(optimizer, where, groups)
    for group in made:
        optimizer._check_together({**defaults, **group.own})
    names = {n: None for g in made for n in optimizer._state_names({**defaults, **g.own})}
    arrays = checked_arrays(optimizer, where, tuple(names), state)
    count = len(optimizer.parameters)
    if len(steps) != count or any(int(n) < 0 for n in steps):
        raise ValueError(f"{where}: expects a count of steps for each of {count} parameters")

    def put() -> None:
        optimizer.defaults.update(defaults)
        optimizer._set_groups(made)
        # Arrays are written into, not replaced: a Program may hold them.
        optimizer._add_state()
        for name, values in arrays.items():
            for mine, value in zip(optimizer.state[name], values, strict=True):
                mine[...] = value
        optimizer._counts.of_each = [int(n) for n in steps]

    return put


def _checked(optimizer: Optimizer, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(values) - set(optimizer.hyper_parameters)
    if unknown:
        raise ValueError(f"{where}: unknown hyper-parameters {sorted(unknown)}")
    return optimizer._checked(where, values)


def _checked_groups(
    optimizer: Optimizer, where: str, groups: Sequence[Mapping[str, Any]]
) -> list[ParamGroup]:
    """The groups as they were saved; a Schedule or function that a group has now stays."""
    mine = optimizer.param_groups
    wanted = [len(group.params) for group in mine]
    sizes = [len(group["params"]) for group in groups]
    plain = len(mine) == 1 and not mine[0].own and sum(sizes) == wanted[0]
    if sizes != wanted and not plain:
        raise ValueError(f"{where}: groups of {sizes} parameters, the optimizer has {wanted}")
    rest = list(optimizer.parameters)
    made = []
    for i, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        own = _checked(optimizer, where, {k: v for k, v in group.items() if k != "params"})
        kept = {} if plain else {k: v for k, v in mine[i].own.items() if callable(v)}
        made.append(ParamGroup(optimizer, rest[:size], {**kept, **own}))
        rest = rest[size:]
    return made


def checked_arrays(
    optimizer: Optimizer, where: str, names: tuple[str, ...], state: Mapping[str, Any]
) -> dict[str, list[NDArray[Any]]]:
    """Copies of the arrays, which must be such as the optimizer keeps under these names."""
    if set(state) != set(names):
        raise ValueError(f"{where}: expects the arrays {sorted(names)}, got {sorted(state)}")
    checked = {}
    for name in names:
        values = [np.asarray(a) for a in state[name]]
        like = optimizer._state_like(name)
        shapes, wanted = [a.shape for a in values], [a.shape for a in like]
        if shapes != wanted:
            raise ValueError(f"{where}: {name} has shapes {shapes}, expects {wanted}")
        checked[name] = [np.array(a, dtype=b.dtype) for a, b in zip(values, like, strict=True)]
    return checked
