"""An optimizer's state as a dict that goes into files, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprop.registry import type_name

if TYPE_CHECKING:
    from fastprop.optim.optimizer import Optimizer

_KEYS = ("type", "hyper_parameters", "param_groups", "steps", "state")


def saved_state(optimizer: Optimizer) -> dict[str, Any]:
    """See :meth:`Optimizer.state_dict`."""
    positions = iter(range(len(optimizer.parameters)))
    return {
        "type": type_name(optimizer),
        "hyper_parameters": _without_functions(optimizer.defaults),
        "param_groups": [
            {"params": [next(positions) for _ in group.params], **_without_functions(group.own)}
            for group in optimizer.param_groups
        ],
        "steps": list(optimizer._steps),
        "state": {
            name: [a.copy() for a in optimizer.state[name]]
            for name in (optimizer.state_names if optimizer.parameters else ())
        },
    }


def _without_functions(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not callable(value)}


def load_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """See :meth:`Optimizer.load_state_dict`."""
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
    owns = _checked_groups(optimizer, where, groups)
    for own in owns:
        optimizer._check_together({**defaults, **own})
    names = {name: None for own in owns for name in optimizer._state_names({**defaults, **own})}
    arrays = _checked_arrays(optimizer, where, tuple(names), steps, state)
    optimizer.defaults.update(defaults)
    for group, own in zip(optimizer.param_groups, owns, strict=True):
        group.own = own
    optimizer._revision += 1
    # Arrays are written into, not replaced: a Program may hold them.
    optimizer._add_state()
    for name, values in arrays.items():
        for mine, value in zip(optimizer.state[name], values, strict=True):
            mine[...] = value
    optimizer._steps = [int(n) for n in steps]
    optimizer._most_steps = max(optimizer._steps)


def _checked(optimizer: Optimizer, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(values) - set(optimizer.hyper_parameters)
    if unknown:
        raise ValueError(f"{where}: unknown hyper-parameters {sorted(unknown)}")
    return {name: optimizer._hyper(name).check(where, value) for name, value in values.items()}


def _checked_groups(
    optimizer: Optimizer, where: str, groups: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What each group has for itself; a Schedule or function that it has now stays."""
    sizes = [len(group["params"]) for group in groups]
    wanted = [len(group.params) for group in optimizer.param_groups]
    if sizes != wanted:
        raise ValueError(f"{where}: groups of {sizes} parameters, the optimizer has {wanted}")
    owns = []
    for group, mine in zip(groups, optimizer.param_groups, strict=True):
        own = _checked(optimizer, where, {k: v for k, v in group.items() if k != "params"})
        kept = {name: value for name, value in mine.own.items() if callable(value)}
        owns.append({**kept, **own})
    return owns


def _checked_arrays(
    optimizer: Optimizer, where: str, names: tuple[str, ...], steps: Any, state: Mapping[str, Any]
) -> dict[str, list[NDArray[Any]]]:
    if set(state) != set(names):
        raise ValueError(f"{where}: expects the arrays {sorted(names)}, got {sorted(state)}")
    count = len(optimizer.parameters)
    if len(steps) != count or any(int(n) < 0 for n in steps):
        raise ValueError(f"{where}: expects a count of steps for each of {count} parameters")
    checked = {}
    for name in names:
        values = [np.asarray(a) for a in state[name]]
        like = optimizer._state_like(name)
        shapes, wanted = [a.shape for a in values], [a.shape for a in like]
        if shapes != wanted:
            raise ValueError(f"{where}: {name} has shapes {shapes}, expects {wanted}")
        checked[name] = [np.array(a, dtype=b.dtype) for a, b in zip(values, like, strict=True)]
    return checked
